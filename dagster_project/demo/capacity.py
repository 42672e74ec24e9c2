"""Work on bought capacity: how much a call takes, which calls spill over, how full a deployment was.

Work is `(input - cached) + weight x output` in input-token equivalents; `input` here is uncached already. The
vectors of a whole period are held at once, because a deployment's tokens are scaled to its busiest hours.
"""

from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl

from dagster_project.demo import company, feed_files
from dagster_project.demo.company import Commitment, Deployment
from dagster_project.demo.plan import HOUR_US, Bools, Ints, Plan, instant
from dagster_project.demo.truths import CommitmentTruth, DeploymentTruth, ratio

_BUSY_HOURS = range(9, 17)


def work_tokens(deployment: Deployment, input_tokens: Ints, output_tokens: Ints) -> Ints:
    """Return the work of each call."""
    return input_tokens + deployment.output_token_weight * output_tokens


def hour_numbers(plan: Plan, called_us: Ints) -> Ints:
    """Return the 0-based hour of the period in which each call began."""
    return np.asarray((called_us - plan.midnight_us(0)) // HOUR_US)


def busy_hours(plan: Plan) -> Bools:
    """Mark the weekday hours 09:00-17:00 UTC of the period."""
    hours = np.arange(plan.days * 24)
    weekday = np.array([plan.is_weekday(day) for day in range(plan.days)])[hours // 24]
    return weekday & (hours % 24 >= _BUSY_HOURS.start) & (hours % 24 < _BUSY_HOURS.stop)


def work_per_hour(plan: Plan, called_us: Ints, work: Ints) -> Ints:
    """Sum work per hour of the period, exactly."""
    sums = np.zeros(plan.days * 24, np.int64)
    np.add.at(sums, hour_numbers(plan, called_us), work)
    return sums


def spilled(plan: Plan, deployment: Deployment, called_us: Ints, work: Ints) -> Bools:
    """Mark the calls past an hour's capacity, in the order in which they arrive."""
    order = np.argsort(called_us, kind="stable")
    cumulative = np.cumsum(work[order])
    hours = hour_numbers(plan, called_us[order])
    is_first = np.diff(hours, prepend=-1) > 0
    before = np.maximum.accumulate(np.where(is_first, cumulative - work[order], 0))
    result = np.zeros(len(work), bool)
    result[order] = cumulative - before > deployment.capacity_tokens_per_hour
    return result


def deployment_truth(
    plan: Plan, deployment: Deployment, called_us: Ints, work: Ints, is_spilled: Bools | None = None
) -> DeploymentTruth:
    """State how full a deployment was."""
    over = np.zeros(len(work), bool) if is_spilled is None else is_spilled
    used = work_per_hour(plan, called_us[~over], work[~over])
    capacity = deployment.capacity_tokens_per_hour
    best = int(used.argmax())
    busy = busy_hours(plan)
    return DeploymentTruth(
        deployment_id=deployment.deployment_id,
        commitment_id=deployment.commitment_id,
        allocated_units=deployment.allocated_units,
        capacity_tokens_per_hour=capacity,
        call_count=int((~over).sum()),
        used_tokens=int(used.sum()),
        best_hour_at=instant(plan.midnight_us(0) + best * HOUR_US),
        best_hour_share=ratio(int(used[best]), capacity),
        mean_share=ratio(int(used.sum()), capacity * len(used)),
        busy_hours_mean_share=ratio(int(used[busy].sum()), capacity * int(busy.sum())),
        spillover_deployment_id=deployment.spillover_deployment_id,
        spillover_call_count=int(over.sum()),
        spillover_tokens=int(work[over].sum()),
    )


def overage_usd_per_hour(commitment: Commitment) -> Decimal:
    """Return what the units deployed beyond those bought cost in an hour."""
    return commitment.overage_units * (commitment.usd_per_overage_unit_hour or Decimal(0))


def write_telemetry(plan: Plan, folder: Path) -> None:
    """Write what the monitor of the GPU instances measured: a file a day, in percent, every half hour."""
    percents = company.RESEARCH_BUSY_PERCENTS
    for day in range(plan.days):
        rows = [
            (plan.midnight_us(day) + half_hour * HOUR_US // 2, f"gpu-{instance}", percents[(instance + half_hour) % 4])
            for half_hour in range(48)
            for instance in range(len(percents))
        ]
        frame = pl.DataFrame(rows, schema=["measured_us", "host", "gpu_util"], orient="row").select(
            feed_files.iso("measured_us").alias("ts"), "host", "gpu_util"
        )
        feed_files.write_frame(frame, folder / f"dcgm_{plan.date_of(day)}.csv", "csv")


def commitment_truth(plan: Plan, commitment: Commitment, deployments: tuple[Deployment, ...]) -> CommitmentTruth:
    """State what was bought and what no deployment uses."""
    allocated = sum(
        deployment.allocated_units for deployment in deployments if deployment.commitment_id == commitment.commitment_id
    )
    return CommitmentTruth(
        commitment_id=commitment.commitment_id,
        provider_name=commitment.provider_name,
        bought_units=commitment.bought_units,
        allocated_units=allocated,
        unallocated_units=max(commitment.bought_units - allocated, 0),
        usd_per_unit_hour=commitment.usd_per_unit_hour,
        period_cost_usd=Decimal(plan.days * 24)
        * (commitment.bought_units * commitment.usd_per_unit_hour + overage_usd_per_hour(commitment)),
        period_overage_cost_usd=Decimal(plan.days * 24) * overage_usd_per_hour(commitment),
    )
