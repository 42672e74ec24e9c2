-- Per commitment and day the hours cost what was bought and run; per deployment and day what was used is what its calls
-- were given. Bought cost is reckoned from the reference data anew: units times price times minutes over 60, less what
-- a part of an hour loses to whole nano-dollars.
with

hours as (
    select
        commitment_id,
        event_date,
        min(hour_at) as first_hour_at,
        max(hour_at) + interval 1 hour as end_at,
        sum(cost_usd) as cost_usd,
        sum(overage_cost_usd) as overage_cost_usd
    from marts.fct_capacity_hours
    where event_date between $min_date and $max_date and allocation_type in ('deployment', 'unallocated')
    group by all
),

bought as (
    select
        hours.commitment_id,
        hours.event_date,
        any_value(hours.cost_usd) as cost_usd,
        any_value(hours.overage_cost_usd) as overage_cost_usd,
        sum(
            commitments.bought_units * commitments.usd_per_unit_hour * date_diff(
                'minute', greatest(commitments.starts_at, hours.first_hour_at), least(commitments.ends_at, hours.end_at)
            )
        ) as bought_usd_minutes
    from hours
    inner join reference.seed_commitments as commitments
        on
            hours.commitment_id = commitments.commitment_id
            and hours.end_at > commitments.starts_at
            and hours.first_hour_at < commitments.ends_at
    group by all
),

used as (
    select
        deployment_id,
        event_date,
        sum(used_cost_usd) as used_cost_usd
    from marts.fct_capacity_hours
    where event_date between $min_date and $max_date and allocation_type = 'deployment'
    group by all
),

calls as (
    select
        deployment_id,
        event_date,
        sum(effective_cost_usd) as used_cost_usd
    from marts.fct_calls
    where event_date between $min_date and $max_date and pricing_status_type = 'provisioned'
    group by all
)

select
    commitment_id,
    null as deployment_id,
    event_date,
    cost_usd,
    bought_usd_minutes / 60 + overage_cost_usd as expected_cost_usd,
    1 as evaluated_count,
    -- A cut of an hour loses less than two nano-dollars, so a millionth of a dollar is five hundred cuts in a day.
    cast(
        coalesce(abs((cost_usd - overage_cost_usd) * 60 - bought_usd_minutes) >= 0.00006, true) as integer
    ) as violation_count
from bought
union all
select
    null as commitment_id,
    coalesce(used.deployment_id, calls.deployment_id) as deployment_id,
    coalesce(used.event_date, calls.event_date) as event_date,
    coalesce(used.used_cost_usd, 0) as cost_usd,
    coalesce(calls.used_cost_usd, 0) as expected_cost_usd,
    1 as evaluated_count,
    cast(coalesce(used.used_cost_usd, 0) <> coalesce(calls.used_cost_usd, 0) as integer) as violation_count
from used
full join calls on used.deployment_id = calls.deployment_id and used.event_date = calls.event_date
order by commitment_id, deployment_id, event_date
