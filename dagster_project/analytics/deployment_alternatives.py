"""Where a use case could run instead: closed API, hosted model or own instances, at its own volume and load.

Candidates are declared in `seed_deployment_candidates`. A candidate by the token is priced by the rate cards at list
price (the base band of the context, the standard tier, every region), one by the instance by what the seed states.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import dagster as dg
import duckdb
import numpy as np

from dagster_project.analytics.capacity_recommendations import HISTORY_DAYS, SPILLOVER_PERIOD_SHARE, last_whole_date
from dagster_project.progress import Progress
from dagster_project.settings import Settings
from dagster_project.sources import discover
from dagster_project.statistics.capacity import MIN_HISTORY_DAYS, TOKENS_PER_MTOK, FloatArray, peak_demand_tokens
from dagster_project.statistics.deployment_options import (
    SECONDS_PER_DAY,
    InstanceOffer,
    break_even_instance_share,
    crossover_tokens_per_day,
    failover_cost,
)
from dagster_project.warehouse.connection import open_warehouse

ALTERNATIVES = "deployment_alternatives"

_MINUTES_PER_DAY = 24 * 60

_ALTERNATIVES_DDL = """
create or replace table analytics.deployment_alternatives (
    use_case_id varchar, candidate_id varchar, candidate_type varchar, provider_name varchar, model_id varchar,
    first_date date, last_date date, history_day_count bigint, costed_call_share double,
    input_tokens_per_day decimal(38, 3), cache_read_tokens_per_day decimal(38, 3),
    output_tokens_per_day decimal(38, 3), instance_count bigint, utilization_share double,
    cost_usd_per_day decimal(38, 9), cost_usd_per_mtok decimal(38, 9), current_usd_per_day decimal(38, 9),
    saving_usd_per_day decimal(38, 9), break_even_utilization_share double, crossover_tokens_per_day decimal(38, 3),
    failover_share double, failover_on_demand_usd_per_day decimal(38, 9), failover_standby_usd_per_day decimal(38, 9),
    unavailable_reason varchar
)
"""

# Calls that a model of text could answer: an embedding is no alternative's work.
_LOAD_SQL = """
select
    use_case_id,
    cast(date_diff('minute', cast($first_date as timestamp), called_at at time zone 'UTC') as bigint) as minute_index,
    cast(sum(input_tokens + cache_write_5m_tokens + cache_write_1h_tokens) as bigint) as input_tokens,
    cast(sum(cache_read_tokens) as bigint) as cache_read_tokens,
    cast(sum(output_tokens + reasoning_tokens) as bigint) as output_tokens,
    sum(effective_cost_usd) as cost_usd,
    sum(case when pricing_status_type <> 'provisioned' then effective_cost_usd end) as avoidable_usd,
    count(*) as call_count,
    count(effective_cost_usd) as costed_call_count
from marts.fct_calls
where
    event_date between $first_date and $last_date
    and called_at >= timezone('UTC', cast($first_date as timestamp))
    and called_at < timezone('UTC', cast($last_date + 1 as timestamp))
    and coalesce(embedding_tokens, 0) = 0
    and use_case_id in (select use_case_id from reference.seed_deployment_candidates)
group by all
order by use_case_id, minute_index
"""

_RATES_SQL = """
select provider_name, model_id, unit_kind_type, source_name, accepted_unit_price
from marts.dim_rates
where
    (provider_name, model_id) in (select (provider_name, model_id) from reference.seed_deployment_candidates)
    and unit_kind_type in ('input', 'cache_read', 'output')
    and service_tier = 'standard'
    and region_id is null
    and pricing_currency = 'USD'
    and not is_held
    and valid_from_at <= $at
    and valid_to_at > $at
    and known_to_at = (select max(known_to_at) from marts.dim_rates)
qualify row_number() over (
    partition by provider_name, model_id, unit_kind_type, source_name
    order by context_over_tokens, week_minute_from, valid_from_at desc, known_from_at desc
) = 1
"""


@dataclass(frozen=True)
class Candidate:
    """A way to run a use case, as declared.

    Attributes:
        use_case_id: The use case.
        candidate_id: The candidate.
        candidate_type: closed_api, hosted or self_hosted.
        provider_name: The rate card's name of the provider.
        model_id: The model.
        usd_per_instance_hour: Price of an instance for an hour; None when it is paid by the token.
        input_tokens_per_s_per_instance: Input-token equivalents per second of an instance.
        output_token_weight: Input-token equivalents of an output token.
        minimum_instance_count: Smallest number of instances.
        spare_instance_count: Instances on top for when one fails.
        operations_usd_per_day: What running them costs besides.
        failover_share: Expected share of work that would move here while the first provider is down; None when it is
            no second provider.
    """

    use_case_id: str
    candidate_id: str
    candidate_type: str
    provider_name: str
    model_id: str
    usd_per_instance_hour: Decimal | None
    input_tokens_per_s_per_instance: Decimal | None
    output_token_weight: Decimal | None
    minimum_instance_count: int | None
    spare_instance_count: int | None
    operations_usd_per_day: Decimal | None
    failover_share: Decimal | None

    @property
    def offer(self) -> InstanceOffer | None:
        """The instances; None for a candidate that is paid by the token."""
        if self.usd_per_instance_hour is None or self.input_tokens_per_s_per_instance is None:
            return None
        return InstanceOffer(
            self.usd_per_instance_hour,
            self.input_tokens_per_s_per_instance,
            self.minimum_instance_count or 1,
            self.spare_instance_count or 0,
            self.operations_usd_per_day or Decimal(0),
        )


@dataclass(frozen=True)
class UseCaseLoad:
    """What a use case asked of models, over whole days.

    Attributes:
        first_date: First day, inclusive.
        last_date: Last day, inclusive.
        input_tokens: Uncached input and cache writes, per minute with calls.
        cache_read_tokens: Cache reads, per minute with calls.
        output_tokens: Output and reasoning, per minute with calls.
        cost_usd: Effective cost of the calls whose cost is known.
        avoidable_usd: The part of it that is paid by the token, and not for capacity.
        call_count: Calls.
        costed_call_count: Calls whose cost is known.
    """

    first_date: date
    last_date: date
    input_tokens: FloatArray
    cache_read_tokens: FloatArray
    output_tokens: FloatArray
    cost_usd: Decimal
    avoidable_usd: Decimal
    call_count: int
    costed_call_count: int

    @property
    def day_count(self) -> int:
        """Whole days."""
        return (self.last_date - self.first_date).days + 1

    def per_day(self, tokens: FloatArray) -> Decimal:
        """Give the mean of a count per day."""
        return Decimal(int(tokens.sum())) / self.day_count

    def peak_tokens_per_s(self, output_token_weight: Decimal) -> Decimal:
        """Give the work per second that at most 1 % of the minutes exceed; minutes without calls count as none."""
        work = np.zeros(self.day_count * _MINUTES_PER_DAY)
        work[: len(self.input_tokens)] = self.input_tokens + float(output_token_weight) * self.output_tokens
        return Decimal(repr(peak_demand_tokens(work, spillover_period_share=SPILLOVER_PERIOD_SHARE))) / 60


def read_candidates(con: duckdb.DuckDBPyConnection) -> list[Candidate]:
    """Read the declared candidates."""
    return [
        Candidate(*row)
        for row in con.execute(
            """
            select use_case_id, candidate_id, candidate_type, provider_name, model_id, usd_per_instance_hour,
                input_tokens_per_s_per_instance, output_token_weight, minimum_instance_count, spare_instance_count,
                operations_usd_per_day, expected_failover_share
            from reference.seed_deployment_candidates
            order by use_case_id, candidate_id
            """
        ).fetchall()
    ]


def read_loads(con: duckdb.DuckDBPyConnection, *, first_date: date, last_whole_date: date) -> dict[str, UseCaseLoad]:
    """Read the load of each use case that has a candidate, over the last four weeks of the ledger."""
    [(first, last)] = con.execute(
        "select min(event_date), max(event_date) from marts.rpt_daily_spend where event_date <= $last",
        {"last": last_whole_date},
    ).fetchall()
    if last is None:
        return {}
    start = max(first, first_date, last - timedelta(days=HISTORY_DAYS - 1))
    rows = con.execute(_LOAD_SQL, {"first_date": start, "last_date": last}).fetchall()
    by_use_case: dict[str, list[tuple[Any, ...]]] = {}
    for row in rows:
        by_use_case.setdefault(row[0], []).append(row)
    return {
        use_case: UseCaseLoad(
            first_date=start,
            last_date=last,
            input_tokens=_column(own, 2),
            cache_read_tokens=_column(own, 3),
            output_tokens=_column(own, 4),
            cost_usd=sum((row[5] or Decimal(0) for row in own), Decimal(0)),
            avoidable_usd=sum((row[6] or Decimal(0) for row in own), Decimal(0)),
            call_count=sum(row[7] for row in own),
            costed_call_count=sum(row[8] for row in own),
        )
        for use_case, own in by_use_case.items()
    }


def _column(rows: Sequence[tuple[Any, ...]], index: int) -> FloatArray:
    return np.array([row[index] or 0 for row in rows], dtype=np.float64)


def read_rates(
    con: duckdb.DuckDBPyConnection, *, precedence: Sequence[str], at: date
) -> dict[tuple[str, str], dict[str, Decimal]]:
    """Read the candidates' list prices, USD per token by unit kind, of the first source that prices the model."""
    found: dict[tuple[str, str], dict[str, dict[str, Decimal]]] = {}
    for provider, model, kind, source, price in con.execute(_RATES_SQL, {"at": at}).fetchall():
        found.setdefault((provider, model), {}).setdefault(source, {})[kind] = price
    return {
        key: prices
        for key, by_source in found.items()
        for prices in [next((by_source[name] for name in precedence if name in by_source), None)]
        if prices is not None and {"input", "output"} <= prices.keys()
    }


def alternative(candidate: Candidate, load: UseCaseLoad | None, prices: Mapping[str, Decimal] | None) -> dict[str, Any]:
    """Cost one candidate at the use case's own volume and load, or say why that cannot be done."""
    row: dict[str, Any] = dict.fromkeys(_COLUMNS)
    row |= {name: getattr(candidate, name) for name in _COLUMNS[:5]}
    row["failover_share"] = None if candidate.failover_share is None else float(candidate.failover_share)
    if load is None:
        return row | {"history_day_count": 0, "unavailable_reason": "no_calls"}
    inputs, reads, outputs = (
        load.per_day(tokens) for tokens in (load.input_tokens, load.cache_read_tokens, load.output_tokens)
    )
    row |= {
        "first_date": load.first_date,
        "last_date": load.last_date,
        "history_day_count": load.day_count,
        "costed_call_share": load.costed_call_count / load.call_count,
        "input_tokens_per_day": inputs,
        "cache_read_tokens_per_day": reads,
        "output_tokens_per_day": outputs,
    }
    if load.day_count < MIN_HISTORY_DAYS:
        return row | {"unavailable_reason": "history_too_short"}
    if inputs + outputs == 0:
        return row | {"unavailable_reason": "no_tokens_reported"}
    is_costed = load.costed_call_count == load.call_count
    current_usd = load.cost_usd / load.day_count if is_costed else None
    if candidate.offer is not None:
        cost_usd = _cost_instances(row, candidate, candidate.offer, load, current_usd)
    elif prices is not None:
        cost_usd = inputs * prices["input"] + outputs * prices["output"]
        cost_usd += reads * prices.get("cache_read", prices["input"])
    else:
        return row | {"unavailable_reason": "no_rate"}
    _cost_failover(row, candidate, load, cost_usd)
    return row | {
        "cost_usd_per_day": cost_usd,
        "cost_usd_per_mtok": cost_usd * TOKENS_PER_MTOK / (inputs + reads + outputs),
        "current_usd_per_day": current_usd,
        "saving_usd_per_day": None if current_usd is None else round(current_usd, 9) - round(cost_usd, 9),
    }


def _cost_instances(
    row: dict[str, Any], candidate: Candidate, offer: InstanceOffer, load: UseCaseLoad, current_usd: Decimal | None
) -> Decimal:
    """Cost a candidate that is paid by the instance, and say from where on it is cheaper than what is paid today."""
    weight = candidate.output_token_weight or Decimal(1)
    work = load.per_day(load.input_tokens) + weight * load.per_day(load.output_tokens)
    peak = load.peak_tokens_per_s(weight)
    count = offer.instance_count(peak)
    row["instance_count"] = count
    row["utilization_share"] = float(work / (offer.tokens_per_second * SECONDS_PER_DAY * count))
    if current_usd:
        usd_per_token = current_usd / work
        row["break_even_utilization_share"] = float(
            break_even_instance_share(
                offer.usd_per_instance_hour, offer.tokens_per_second, usd_per_token * TOKENS_PER_MTOK
            )
        )
        row["crossover_tokens_per_day"] = crossover_tokens_per_day(
            offer,
            api_usd_per_token=usd_per_token,
            peak_to_mean_ratio=max(peak * SECONDS_PER_DAY / work, Decimal(1)),
        )
    return offer.cost_usd_per_day(count)


def _cost_failover(row: dict[str, Any], candidate: Candidate, load: UseCaseLoad, cost_usd: Decimal) -> None:
    """Cost the candidate as a second provider; per token both prices are of the use case's own mix."""
    if candidate.failover_share is None or load.costed_call_count < load.call_count:
        return
    tokens = load.per_day(load.input_tokens) + load.per_day(load.output_tokens)
    cost = failover_cost(
        tokens_per_day=tokens,
        failover_share=candidate.failover_share,
        first_usd_per_token=load.avoidable_usd / load.day_count / tokens,
        second_usd_per_token=cost_usd / tokens,
        standby=candidate.offer,
        standby_instance_count=row["instance_count"] or 0,
    )
    if candidate.offer is None:
        row["failover_on_demand_usd_per_day"] = cost.on_demand_usd_per_day
    row["failover_standby_usd_per_day"] = cost.standby_usd_per_day


def store(con: duckdb.DuckDBPyConnection, rows: Sequence[Mapping[str, Any]]) -> int:
    """Replace `analytics.deployment_alternatives`: one row per use case and candidate."""
    con.execute(_ALTERNATIVES_DDL)
    if rows:
        con.executemany(
            f"insert into analytics.deployment_alternatives values ({', '.join('?' * len(_COLUMNS))})",
            [[_stored(row[name]) for name in _COLUMNS] for row in rows],
        )
    return len(rows)


def _stored(value: object) -> object:
    return round(value, 9) if isinstance(value, Decimal) else value


_COLUMNS = (
    "use_case_id", "candidate_id", "candidate_type", "provider_name", "model_id", "first_date", "last_date",
    "history_day_count", "costed_call_share", "input_tokens_per_day", "cache_read_tokens_per_day",
    "output_tokens_per_day", "instance_count", "utilization_share", "cost_usd_per_day", "cost_usd_per_mtok",
    "current_usd_per_day", "saving_usd_per_day", "break_even_utilization_share", "crossover_tokens_per_day",
    "failover_share", "failover_on_demand_usd_per_day", "failover_standby_usd_per_day", "unavailable_reason",
)  # fmt: skip


def deployment_alternative_assets(settings: Settings) -> dg.AssetsDefinition:
    """Build the asset definition of the deployment alternatives."""

    @dg.asset(
        name=ALTERNATIVES,
        deps=["fct_calls", "rpt_daily_spend", "dim_rates", "seed_deployment_candidates"],
        group_name="analytics",
        kinds={"python"},
        description="One row per use case and declared candidate: what running it there would cost, or why unknown.",
    )
    def compare(progress: dg.ResourceParam[Progress]) -> dg.MaterializeResult:
        with progress.step("analytics", ALTERNATIVES) as step, open_warehouse(settings) as con:
            connectors = discover()
            candidates = read_candidates(con)
            last = last_whole_date(settings)
            loads = read_loads(con, first_date=settings.start_date, last_whole_date=last) if candidates else {}
            rates = read_rates(
                con,
                precedence=[item.name for item in settings.sources if connectors[item.kind].feed == "rates"],
                at=last,
            )
            step.rows = store(
                con,
                [
                    alternative(item, loads.get(item.use_case_id), rates.get((item.provider_name, item.model_id)))
                    for item in candidates
                ],
            )
        return dg.MaterializeResult(metadata={"dagster/row_count": step.rows})

    return compare
