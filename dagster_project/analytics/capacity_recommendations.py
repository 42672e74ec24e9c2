"""Right-sizing of bought capacity: units to buy, what each count would cost, what another model would free.

Sized on the minutes of the last four weeks, with the on-demand price of the same work. Tables hold USD per day as
expected under the load curve that the recommendation rests on.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import dagster as dg
import duckdb
import numpy as np

from dagster_project.analytics._metadata import picture
from dagster_project.analytics.plots import plot_capacity_cost_curve
from dagster_project.progress import Progress
from dagster_project.settings import Settings
from dagster_project.statistics.capacity import (
    MIN_HISTORY_DAYS,
    TOKENS_PER_MTOK,
    CapacityOffer,
    CapacityOutcome,
    FloatArray,
    UnitPurchase,
    break_even_utilization_share,
    choose_half_life,
    cost_curve,
    recency_weights,
    recommended_unit_count,
    serve_demand,
    service_level_unit_count,
)
from dagster_project.statistics.deployment_options import work_ratio
from dagster_project.warehouse.calendar import Calendar
from dagster_project.warehouse.connection import open_warehouse

RECOMMENDATIONS = "capacity_recommendations"
COST_CURVES = "capacity_cost_curves"
MODEL_CHANGES = "capacity_model_changes"

HISTORY_DAYS = 28
SPILLOVER_PERIOD_SHARE = 0.01
"""Share of enforcement windows that may spill over in the service-level count."""

_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86_400
_HOURS_PER_DAY = 24

_RECOMMENDATIONS_DDL = """
create or replace table analytics.capacity_recommendations (
    scope_type varchar, scope_id varchar, commitment_id varchar, deployment_id varchar, provider_name varchar,
    model_id varchar, unit_name varchar, first_date date, last_date date, history_day_count bigint,
    half_life_day_count bigint, enforcement_window_s bigint, sized_window_s bigint, current_units bigint,
    minimum_units bigint, unit_increment_units bigint, recommended_units bigint, service_level_units bigint,
    recommended_with_service_level_units bigint, utilization_share double, break_even_utilization_share double,
    on_demand_usd_per_mtok decimal(38, 9), priced_call_share double, current_usd_per_day decimal(38, 9),
    recommended_usd_per_day decimal(38, 9), on_demand_usd_per_day decimal(38, 9), saving_usd_per_day decimal(38, 9),
    commitment_ends_at timestamptz, unavailable_reason varchar
)
"""
_COST_CURVES_DDL = """
create or replace table analytics.capacity_cost_curves (
    commitment_id varchar, deployment_id varchar, bought_units bigint, capacity_usd_per_day decimal(38, 9),
    spillover_usd_per_day decimal(38, 9), cost_usd_per_day decimal(38, 9), utilization_share double,
    spillover_share double, is_current boolean, is_recommended boolean
)
"""
_MODEL_CHANGES_DDL = """
create or replace table analytics.capacity_model_changes (
    commitment_id varchar, deployment_id varchar, model_id varchar, other_model_id varchar, work_multiplier double,
    needed_units bigint, other_needed_units bigint, freed_units bigint, freed_usd_per_day decimal(38, 9)
)
"""

# A window reaches over whole days that are known of every deployment, never before the deployment itself.
_DEPLOYMENTS_SQL = """
with

bounds as (
    select
        min(event_date) as first_date,
        case when count(*) > 0 then least(max(event_date), cast($last_whole_date as date)) end as last_date
    from marts.fct_capacity_minutes
),

throughputs as (
    select *
    from reference.seed_capacity_throughputs
    cross join bounds
    where valid_from <= last_date and coalesce(valid_to > last_date, true)
)

select
    deployments.deployment_id, deployments.commitment_id, commitments.provider_name, deployments.model_id,
    commitments.unit_name, throughputs.direction, deployments.allocated_count as current_units,
    deployments.input_tokens_per_minute_per_unit, deployments.output_token_weight, commitments.usd_per_unit_hour,
    throughputs.minimum_units, throughputs.unit_increment, throughputs.enforcement_window_s,
    greatest(
        bounds.first_date,
        cast($first_date as date),
        bounds.last_date - $history_days + 1,
        -- The first whole day of the deployment.
        cast(
            greatest(deployments.starts_at, commitments.starts_at) at time zone 'UTC' + interval '1 day'
            - interval '1 microsecond' as date
        )
    ) as first_date,
    bounds.last_date, commitments.ends_at as commitment_ends_at
from marts.dim_deployments as deployments
inner join marts.dim_commitments as commitments on deployments.commitment_id = commitments.commitment_id
cross join bounds
left join throughputs
    on
        commitments.provider_name = throughputs.provider_name
        and commitments.unit_name = throughputs.unit_name
        and deployments.model_id = throughputs.model_id
where
    bounds.last_date is null
    or least(deployments.ends_at, commitments.ends_at) at time zone 'UTC' >= bounds.last_date + 1
order by deployments.commitment_id, deployments.deployment_id
"""

_DEMAND_SQL = """
select
    cast(date_diff('second', cast($first_date as timestamp), minute_at at time zone 'UTC') // $window_s as bigint),
    cast(sum(demand_tokens) as double)
from marts.fct_capacity_minutes
where
    deployment_id = $deployment_id
    and commitment_id = $commitment_id
    and event_date between $first_date and $last_date
group by all
"""

# What the work that capacity served would have cost by the token, after negotiated terms.
_SERVED_SQL = """
with

calls as (
    select source_name, call_id, event_date, deployment_id, list_cost_usd is not null as is_listed
    from marts.fct_calls
    where event_date between $first_date and $last_date and pricing_status_type = 'provisioned'
),

priced as (
    select deployment_id, avg(case when is_listed then 1.0 else 0.0 end) as priced_call_share
    from calls
    group by deployment_id
),

charges as (
    select
        calls.deployment_id, kinds.direction_type,
        sum(charges.quantity_units * charges.contracted_usd_per_unit) as on_demand_usd,
        sum(case when charges.unit_kind_type not like 'cache_read%' then charges.quantity_units else 0 end) as tokens
    from marts.fct_call_charges as charges
    inner join calls using (source_name, call_id, event_date)
    left join reference.seed_unit_kinds as kinds on charges.unit_kind_type = kinds.unit_kind
    where charges.event_date between $first_date and $last_date and calls.is_listed
    group by all
)

select charges.deployment_id, charges.direction_type, charges.on_demand_usd, charges.tokens, priced.priced_call_share
from charges
inner join priced on charges.deployment_id = priced.deployment_id
"""

_OTHER_MODELS_SQL = """
select provider_name, unit_name, model_id, input_tokens_per_minute_per_unit, output_token_weight, minimum_units,
    unit_increment
from reference.seed_capacity_throughputs
where direction is null and valid_from <= $last_date and coalesce(valid_to > $last_date, true)
order by all
"""

_USED_SQL = """
select deployment_id, commitment_id, sum(used_tokens)
from marts.fct_capacity_minutes
where event_date between $first_date and $last_date
group by all
"""


@dataclass(frozen=True)
class Deployment:
    """Capacity that a deployment holds of a commitment, and the days on which it is sized.

    Attributes:
        deployment_id: The deployment.
        commitment_id: The commitment that it draws on.
        provider_name: The commitment's provider.
        model_id: Model that it serves.
        unit_name: What a unit is.
        direction: input or output where bundles are sold apart; else None.
        current_units: Units that it holds.
        input_tokens_per_minute_per_unit: Throughput of a unit; None when no model of it is known.
        output_token_weight: Input-token equivalents of an output token.
        usd_per_unit_hour: Price of a unit for an hour.
        minimum_units: Smallest purchase; None when nothing says.
        unit_increment: Step of purchases; None when nothing says.
        enforcement_window_s: Seconds over which the provider enforces throughput; None when nothing says.
        first_date: First whole day with history, inclusive; None without any history.
        last_date: Last whole day with history, inclusive.
        commitment_ends_at: First instant after the commitment.
    """

    deployment_id: str
    commitment_id: str
    provider_name: str
    model_id: str | None
    unit_name: str
    direction: str | None
    current_units: int
    input_tokens_per_minute_per_unit: int | None
    output_token_weight: Decimal | None
    usd_per_unit_hour: Decimal
    minimum_units: int | None
    unit_increment: int | None
    enforcement_window_s: int | None
    first_date: date | None
    last_date: date | None
    commitment_ends_at: datetime

    @property
    def day_count(self) -> int:
        """Whole days of history."""
        if self.first_date is None or self.last_date is None:
            return 0
        return max((self.last_date - self.first_date).days + 1, 0)

    @property
    def window_s(self) -> int:
        """Seconds of the windows that are sized on: the provider's, in whole minutes, for minutes are what is kept.

        A provider that enforces by the second or the half minute spills over more than minutes show.
        """
        return max((self.enforcement_window_s or _MINUTE_S) // _MINUTE_S, 1) * _MINUTE_S

    @property
    def purchase(self) -> UnitPurchase:
        """Counts that are sold; every whole number when nothing says."""
        return UnitPurchase(self.minimum_units or 1, self.unit_increment or 1)


@dataclass(frozen=True)
class ServedCharge:
    """What the calls that a deployment served would cost by the token, by direction.

    Attributes:
        deployment_id: The deployment.
        direction_type: input, output or none, of the unit kinds.
        on_demand_usd: Cost at contracted prices.
        tokens: Units, cache reads apart.
        priced_call_share: Share of the deployment's calls that have a price.
    """

    deployment_id: str
    direction_type: str
    on_demand_usd: Decimal | None
    tokens: Decimal
    priced_call_share: float


@dataclass(frozen=True)
class OnDemandPrice:
    """What the work that a deployment served would cost by the token.

    Attributes:
        usd_per_token: USD per input-token equivalent.
        priced_call_share: Share of the calls of which a price is known; the others are taken to cost the same.
        input_tokens: Input of the priced calls, cache reads apart.
        output_tokens: Their output.
    """

    usd_per_token: Decimal
    priced_call_share: float
    input_tokens: Decimal
    output_tokens: Decimal


@dataclass(frozen=True)
class Recommendation:
    """What to buy for one deployment; every figure is None when `reason` says why.

    Attributes:
        deployment: The deployment.
        half_life_days: Half-life of a day's weight; None counts all days alike.
        recommended_units: Count with the lowest expected cost.
        service_level_units: Count with which at most 1 % of windows spill over.
        break_even_share: Utilisation from which a unit pays.
        price: Price of the work on demand.
        current: Expected outcome as it is.
        recommended: Expected outcome of the recommended count.
        on_demand: Expected outcome of buying none.
        curve: Expected outcomes over the counts that are sold.
        reason: Why there is no recommendation.
    """

    deployment: Deployment
    half_life_days: int | None = None
    recommended_units: int | None = None
    service_level_units: int | None = None
    break_even_share: Decimal | None = None
    price: OnDemandPrice | None = None
    current: CapacityOutcome | None = None
    recommended: CapacityOutcome | None = None
    on_demand: CapacityOutcome | None = None
    curve: tuple[CapacityOutcome, ...] = ()
    reason: str | None = None


def read_deployments(con: duckdb.DuckDBPyConnection, *, first_date: date, last_whole_date: date) -> list[Deployment]:
    """Read the deployments that hold bought capacity at the end of the history, with the days to size them on."""
    rows = con.execute(
        _DEPLOYMENTS_SQL,
        {"first_date": first_date, "last_whole_date": last_whole_date, "history_days": HISTORY_DAYS},
    ).fetchall()
    return [Deployment(*row) for row in rows]


def read_demand(con: duckdb.DuckDBPyConnection, deployment: Deployment) -> FloatArray:
    """Read input-token equivalents demanded per window, spillover included; a window without calls has none."""
    demand = np.zeros(deployment.day_count * _DAY_S // deployment.window_s)
    rows = con.execute(
        _DEMAND_SQL,
        {
            "deployment_id": deployment.deployment_id,
            "commitment_id": deployment.commitment_id,
            "first_date": deployment.first_date,
            "last_date": deployment.last_date,
            "window_s": deployment.window_s,
        },
    ).fetchnumpy()
    windows, tokens = rows.values()
    demand[np.asarray(windows, dtype=np.int64)] = tokens
    return demand


def read_prices(
    con: duckdb.DuckDBPyConnection, deployments: Sequence[Deployment]
) -> dict[tuple[str, str], OnDemandPrice]:
    """Read the on-demand price of what each deployment served, by deployment and commitment, as far as there is one."""
    days = _days(deployments)
    if days is None:
        return {}
    used = {(row[0], row[1]): row[2] for row in con.execute(_USED_SQL, days).fetchall()}
    charges = [ServedCharge(*row) for row in con.execute(_SERVED_SQL, days).fetchall()]
    prices = {}
    for item in deployments:
        key = (item.deployment_id, item.commitment_id)
        own = [charge for charge in charges if charge.deployment_id == item.deployment_id]
        cost_usd = sum(
            (charge.on_demand_usd or Decimal(0) for charge in own if item.direction in (None, charge.direction_type)),
            Decimal(0),
        )
        tokens = used.get(key) or 0
        if cost_usd > 0 and tokens > 0:
            priced_share = Decimal(str(own[0].priced_call_share))
            prices[key] = OnDemandPrice(
                usd_per_token=cost_usd / (Decimal(tokens) * priced_share),
                priced_call_share=float(priced_share),
                input_tokens=sum((charge.tokens for charge in own if charge.direction_type == "input"), Decimal(0)),
                output_tokens=sum((charge.tokens for charge in own if charge.direction_type == "output"), Decimal(0)),
            )
    return prices


def recommend(deployment: Deployment, demand: FloatArray, price: OnDemandPrice | None) -> Recommendation:
    """Size one deployment on its demand per window, or say why that cannot be done.

    The service level needs no price; the cost of a count does.
    """
    throughput = deployment.input_tokens_per_minute_per_unit
    if not throughput:
        return Recommendation(deployment, reason="unknown_throughput")
    if deployment.day_count < MIN_HISTORY_DAYS:
        return Recommendation(deployment, reason="history_too_short")
    if not demand.any():
        return Recommendation(deployment, reason="no_work_recorded")
    unit_tokens = Decimal(throughput * deployment.window_s) / _MINUTE_S
    service_level_units = service_level_unit_count(
        demand, unit_tokens, spillover_period_share=SPILLOVER_PERIOD_SHARE, purchase=deployment.purchase
    )
    if price is None:
        return Recommendation(deployment, service_level_units=service_level_units, reason="no_on_demand_price")
    offer = CapacityOffer(
        unit_tokens, deployment.usd_per_unit_hour * deployment.window_s / _HOUR_S, price.usd_per_token
    )
    days = np.arange(demand.size) * deployment.window_s // _DAY_S
    half_life = choose_half_life(demand, days).half_life_days
    weights = recency_weights(days, half_life)
    units = recommended_unit_count(demand, offer, purchase=deployment.purchase, weights=weights)
    current, recommended, on_demand = (
        serve_demand(demand, offer, count, weights=weights) for count in (deployment.current_units, units, 0)
    )
    return Recommendation(
        deployment,
        half_life_days=half_life,
        recommended_units=units,
        service_level_units=service_level_units,
        break_even_share=break_even_utilization_share(offer),
        price=price,
        current=current,
        recommended=recommended,
        on_demand=on_demand,
        curve=tuple(
            cost_curve(
                demand,
                offer,
                purchase=deployment.purchase,
                shown_unit_counts=[deployment.current_units, units],
                weights=weights,
            )
        ),
    )


def model_changes(
    con: duckdb.DuckDBPyConnection, sized: Sequence[tuple[Recommendation, FloatArray]]
) -> list[tuple[Any, ...]]:
    """Say what each other model of the same unit would free, by the service level of the same work.

    The deployment's tokens are weighed again with the other model's output weight, the mix of the days taken as that
    of every window; tokens themselves are taken to stay, which a tokenizer or a terser model may change.
    """
    days = _days([item.deployment for item, _ in sized])
    others = con.execute(_OTHER_MODELS_SQL, {"last_date": days["last_date"]}).fetchall() if days else []
    return [
        _model_change(item, demand, item.price, other)
        for item, demand in sized
        if item.price is not None and item.price.input_tokens + item.price.output_tokens > 0
        for other in others
        if (item.deployment.provider_name, item.deployment.unit_name) == other[:2]
        and item.deployment.model_id != other[2]
    ]


def _model_change(
    item: Recommendation, demand: FloatArray, price: OnDemandPrice, other: tuple[Any, ...]
) -> tuple[Any, ...]:
    own = item.deployment
    _, _, other_model, throughput, weight, minimum, increment = other
    multiplier = work_ratio(
        input_tokens=price.input_tokens,
        output_tokens=price.output_tokens,
        output_token_weight=own.output_token_weight or Decimal(0),
        other_output_token_weight=weight,
    )
    needed = service_level_unit_count(
        demand * float(multiplier),
        Decimal(throughput * own.window_s) / _MINUTE_S,
        spillover_period_share=SPILLOVER_PERIOD_SHARE,
        purchase=UnitPurchase(minimum or 1, increment or 1),
    )
    freed = (item.service_level_units or 0) - needed
    return (
        own.commitment_id,
        own.deployment_id,
        own.model_id,
        other_model,
        float(multiplier),
        item.service_level_units,
        needed,
        freed,
        _rounded(freed * _HOURS_PER_DAY * own.usd_per_unit_hour),
    )


def store(
    con: duckdb.DuckDBPyConnection, recommendations: Sequence[Recommendation], changes: Sequence[tuple[Any, ...]]
) -> tuple[int, int]:
    """Replace the three tables: recommendations of deployments and commitments, cost curves, changes of model.

    Returns:
        Rows of recommendations and of cost curves.
    """
    for ddl in (_RECOMMENDATIONS_DDL, _COST_CURVES_DDL, _MODEL_CHANGES_DDL):
        con.execute(ddl)
    deployed = [_deployment_row(item) for item in recommendations]
    rows = [tuple(row.values()) for row in (*deployed, *_commitment_rows(con, deployed))]
    curves = [row for item in recommendations for row in _curve_rows(item)]
    for table, found in ((RECOMMENDATIONS, rows), (COST_CURVES, curves), (MODEL_CHANGES, changes)):
        if found:
            con.executemany(f"insert into analytics.{table} values ({', '.join('?' * len(found[0]))})", found)
    return len(rows), len(curves)


def _deployment_row(item: Recommendation) -> dict[str, Any]:
    own = item.deployment
    per_day = Decimal(own.day_count or 1)
    current, recommended, on_demand = (
        outcome.cost_usd / per_day if outcome else None for outcome in (item.current, item.recommended, item.on_demand)
    )
    levels = [units for units in (item.recommended_units, item.service_level_units) if units is not None]
    return {
        "scope_type": "deployment",
        "scope_id": own.deployment_id,
        "commitment_id": own.commitment_id,
        "deployment_id": own.deployment_id,
        "provider_name": own.provider_name,
        "model_id": own.model_id,
        "unit_name": own.unit_name,
        "first_date": own.first_date if own.day_count else None,
        "last_date": own.last_date if own.day_count else None,
        "history_day_count": own.day_count,
        "half_life_day_count": item.half_life_days,
        "enforcement_window_s": own.enforcement_window_s,
        "sized_window_s": own.window_s,
        "current_units": own.current_units,
        "minimum_units": own.minimum_units,
        "unit_increment_units": own.unit_increment,
        "recommended_units": item.recommended_units,
        "service_level_units": item.service_level_units,
        "recommended_with_service_level_units": max(levels) if len(levels) > 1 else None,
        "utilization_share": item.current.utilization_share if item.current else None,
        "break_even_utilization_share": float(item.break_even_share) if item.break_even_share is not None else None,
        "on_demand_usd_per_mtok": _rounded(item.price.usd_per_token * TOKENS_PER_MTOK if item.price else None),
        "priced_call_share": item.price.priced_call_share if item.price else None,
        "current_usd_per_day": _rounded(current),
        "recommended_usd_per_day": _rounded(recommended),
        "on_demand_usd_per_day": _rounded(on_demand),
        "saving_usd_per_day": _difference(_rounded(current), _rounded(recommended)),
        "commitment_ends_at": own.commitment_ends_at,
        "unavailable_reason": item.reason,
    }


def _commitment_rows(con: duckdb.DuckDBPyConnection, deployed: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give a row per commitment: what its deployments need in all against what is bought, allocated or not."""
    columns = [field[0] for field in con.execute("from analytics.capacity_recommendations limit 0").description or ()]
    for commitment, provider, unit, bought, usd_per_unit_hour, ends_at in con.execute(
        """
        select commitment_id, provider_name, unit_name, bought_count, usd_per_unit_hour, ends_at
        from marts.dim_commitments order by commitment_id
        """
    ).fetchall():
        own = [row for row in deployed if row["commitment_id"] == commitment]
        is_known = bool(own) and all(row["unavailable_reason"] is None for row in own)
        unallocated = bought - sum(row["current_units"] for row in own)
        row: dict[str, Any] = dict.fromkeys(columns)
        row |= {
            "scope_type": "commitment",
            "scope_id": commitment,
            "commitment_id": commitment,
            "provider_name": provider,
            "unit_name": unit,
            "history_day_count": min((row["history_day_count"] for row in own), default=0),
            "current_units": bought,
            "commitment_ends_at": ends_at,
            "unavailable_reason": None if is_known else "deployment_without_recommendation" if own else "not_deployed",
        }
        if is_known:
            summed = (
                "recommended_units",
                "service_level_units",
                "recommended_with_service_level_units",
                "recommended_usd_per_day",
                "on_demand_usd_per_day",
            )
            row |= {name: sum(each[name] for each in own) for name in summed}
            # Overage is in the deployments' cost; units that nobody deployed are paid for on top of it.
            row["current_usd_per_day"] = sum(each["current_usd_per_day"] for each in own) + _rounded(
                max(unallocated, 0) * _HOURS_PER_DAY * usd_per_unit_hour
            )
            row["saving_usd_per_day"] = row["current_usd_per_day"] - row["recommended_usd_per_day"]
        yield row


def _curve_rows(item: Recommendation) -> Iterator[tuple[Any, ...]]:
    own = item.deployment
    for point in item.curve:
        capacity_usd = _rounded(point.commitment_cost_usd / own.day_count)
        spillover_usd = _rounded(point.spillover_cost_usd / own.day_count)
        demand_tokens = point.used_tokens + point.spillover_tokens
        yield (
            own.commitment_id,
            own.deployment_id,
            point.unit_count,
            capacity_usd,
            spillover_usd,
            capacity_usd + spillover_usd,
            point.utilization_share,
            float(point.spillover_tokens / demand_tokens) if demand_tokens else None,
            point.unit_count == own.current_units,
            point.unit_count == item.recommended_units,
        )


def _days(deployments: Sequence[Deployment]) -> dict[str, date] | None:
    """Give the days that the deployments are sized on, all together; None when there are none."""
    sized = [(item.first_date, item.last_date) for item in deployments if item.first_date and item.last_date]
    if not sized:
        return None
    return {"first_date": min(first for first, _ in sized), "last_date": max(last for _, last in sized)}


def _rounded(amount: Decimal | None) -> Any:  # noqa: ANN401 - a Decimal where one goes in
    return None if amount is None else round(amount, 9)


def _difference(minuend: Decimal | None, subtrahend: Decimal | None) -> Decimal | None:
    return None if minuend is None or subtrahend is None else minuend - subtrahend


def last_whole_date(settings: Settings) -> date:
    """Give the last UTC day that is known to its end."""
    return Calendar.of(settings).end_at.date() - timedelta(days=1)


def capacity_recommendation_assets(settings: Settings) -> dg.AssetsDefinition:
    """Build the asset definition of the right-sizing of bought capacity."""
    upstream = [
        "fct_capacity_minutes", "fct_calls", "fct_call_charges", "dim_commitments", "dim_deployments",
        "seed_capacity_throughputs", "seed_unit_kinds",
    ]  # fmt: skip
    described = {
        RECOMMENDATIONS: "One row per deployment and per commitment: units to buy, cost now, then and on demand.",
        COST_CURVES: "One row per deployment and count of units: expected cost per day.",
        MODEL_CHANGES: "One row per deployment and other model of the same unit: units that it would free.",
    }

    @dg.multi_asset(
        name="recommend_capacity",
        specs=[
            dg.AssetSpec(name, deps=upstream, group_name="analytics", kinds={"python"}, description=description)
            for name, description in described.items()
        ],
    )
    def size(progress: dg.ResourceParam[Progress]) -> Iterator[dg.MaterializeResult]:
        with progress.step("analytics", RECOMMENDATIONS) as step, open_warehouse(settings) as con:
            deployments = read_deployments(
                con, first_date=settings.start_date, last_whole_date=last_whole_date(settings)
            )
            prices = read_prices(con, deployments)
            sized = []
            for item in deployments:
                demand = read_demand(con, item)
                sized.append((recommend(item, demand, prices.get((item.deployment_id, item.commitment_id))), demand))
            changes = model_changes(con, sized)
            step.rows, curve_count = store(con, [item for item, _ in sized], changes)
        yield dg.MaterializeResult(
            asset_key=RECOMMENDATIONS,
            metadata={
                "dagster/row_count": step.rows,
                "without_recommendation": sum(item.reason is not None for item, _ in sized),
            },
        )
        yield dg.MaterializeResult(
            asset_key=COST_CURVES,
            metadata={"dagster/row_count": curve_count, **_pictures([item for item, _ in sized])},
        )
        yield dg.MaterializeResult(asset_key=MODEL_CHANGES, metadata={"dagster/row_count": len(changes)})

    return size


def _pictures(recommendations: Sequence[Recommendation]) -> dict[str, dg.MarkdownMetadataValue]:
    """Draw the curves that have most to save, a dozen at most: a run's record is no place for hundreds of pictures."""
    drawn = [item for item in recommendations if item.curve and item.current and item.recommended]
    drawn.sort(key=_saving_usd, reverse=True)
    return {
        item.deployment.deployment_id: picture(
            plot_capacity_cost_curve(
                [
                    dataclasses.replace(
                        point,
                        commitment_cost_usd=point.commitment_cost_usd / item.deployment.day_count,
                        cost_usd=point.cost_usd / item.deployment.day_count,
                    )
                    for point in item.curve
                ],
                current_units=item.deployment.current_units,
                recommended_units=item.recommended_units or 0,
                title=f"Capacity of {item.deployment.deployment_id}",
                unit_name=item.deployment.unit_name,
            )
        )
        for item in drawn[:12]
    }


def _saving_usd(item: Recommendation) -> Decimal:
    return item.current.cost_usd - item.recommended.cost_usd if item.current and item.recommended else Decimal(0)
