-- Per commitment and day: the hours cost what was bought, and what was used is what its calls were given.
with

hours as (
    select
        commitment_id,
        event_date,
        count(distinct hour_at) as hour_count,
        sum(units_count) as unit_hour_count,
        sum(cost_usd) as cost_usd,
        sum(used_cost_usd) as used_cost_usd
    from marts.fct_capacity_hours
    where event_date between $min_date and $max_date
    group by all
),

calls as (
    select
        dim_deployments.commitment_id,
        fct_calls.event_date,
        sum(fct_calls.effective_cost_usd) as used_cost_usd
    from marts.fct_calls
    inner join marts.dim_deployments using (deployment_id)
    where fct_calls.event_date between $min_date and $max_date and fct_calls.pricing_status_type = 'provisioned'
    group by all
)

select
    hours.commitment_id,
    hours.event_date,
    hours.cost_usd,
    hours.hour_count * dim_commitments.bought_count * dim_commitments.usd_per_unit_hour as bought_cost_usd,
    hours.used_cost_usd,
    calls.used_cost_usd as call_used_cost_usd,
    1 as evaluated_count,
    cast(
        (hours.cost_usd, hours.used_cost_usd) is distinct from (bought_cost_usd, coalesce(calls.used_cost_usd, 0))
        as integer
    ) as violation_count
from hours
inner join marts.dim_commitments using (commitment_id)
left join calls on hours.commitment_id = calls.commitment_id and hours.event_date = calls.event_date
order by hours.commitment_id, hours.event_date
