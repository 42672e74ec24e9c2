{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

hours as (
    select *
    from {{ ref('fct_capacity_hours') }}
    where {{ in_window('event_date') }}
),

commitments as (
    select * from {{ ref('dim_commitments') }}
),

aggregated as (
    select
        commitment_id,
        deployment_id,
        allocation_id,
        allocation_type,
        direction_type,
        event_date,
        count(*) as hour_count,
        sum(unit_minute_count) as unit_minute_count,
        sum(capacity_tokens) as capacity_tokens,
        sum(used_tokens) as used_tokens,
        sum(spillover_tokens) as spillover_tokens,
        sum(inferred_spillover_tokens) as inferred_spillover_tokens,
        sum(call_count) as call_count,
        sum(spillover_call_count) as spillover_call_count,
        sum(throttled_call_count) as throttled_call_count,
        sum(measurement_count) as measurement_count,
        {%- for part in ('cost', 'used_cost', 'idle_cost', 'unallocated_cost', 'overage_cost', 'unattributed_cost') %}
        cast(sum({{ part }}_usd) as decimal(38, 9)) as {{ part }}_usd,
        {%- endfor %}
        case
            when sum(case when used_tokens > 0 and on_demand_cost_usd is null then 1 else 0 end) = 0
                then cast(sum(on_demand_cost_usd) as decimal(38, 15))
        end as on_demand_cost_usd,
        case
            when count(inferred_spillover_cost_usd) = count(*)
                then cast(sum(inferred_spillover_cost_usd) as decimal(38, 9))
        end as inferred_spillover_cost_usd,
        cast(sum(case when measurement_count is not null then used_cost_usd + unattributed_cost_usd end) as double)
        / nullif(cast(sum(case when measurement_count is not null then cost_usd end) as double), 0)
            as measured_utilization_share,
        max(utilization_share) as max_utilization_share
    from hours
    group by commitment_id, deployment_id, allocation_id, allocation_type, direction_type, event_date
),

final as (
    select
        aggregated.commitment_id,
        aggregated.deployment_id,
        aggregated.allocation_id,
        aggregated.allocation_type,
        aggregated.direction_type,
        commitments.provider_name,
        commitments.commitment_type,
        cast(aggregated.hour_count as bigint) as hour_count,
        cast(aggregated.unit_minute_count as bigint) as unit_minute_count,
        cast(aggregated.capacity_tokens as bigint) as capacity_tokens,
        cast(aggregated.used_tokens as bigint) as used_tokens,
        cast(aggregated.spillover_tokens as bigint) as spillover_tokens,
        cast(aggregated.inferred_spillover_tokens as bigint) as inferred_spillover_tokens,
        cast(aggregated.call_count as bigint) as call_count,
        cast(aggregated.spillover_call_count as bigint) as spillover_call_count,
        cast(aggregated.throttled_call_count as bigint) as throttled_call_count,
        cast(aggregated.measurement_count as bigint) as measurement_count,
        aggregated.cost_usd,
        aggregated.used_cost_usd,
        aggregated.idle_cost_usd,
        aggregated.unallocated_cost_usd,
        aggregated.overage_cost_usd,
        aggregated.unattributed_cost_usd,
        aggregated.on_demand_cost_usd,
        aggregated.inferred_spillover_cost_usd,
        cast(aggregated.used_tokens as double) / nullif(aggregated.capacity_tokens, 0) as utilization_share,
        aggregated.max_utilization_share,
        aggregated.measured_utilization_share,
        cast(aggregated.used_tokens as double)
        / nullif(aggregated.used_tokens + aggregated.spillover_tokens, 0) as coverage_share,
        cast(aggregated.cost_usd as double) * cast(aggregated.used_tokens as double)
        / nullif(cast(aggregated.on_demand_cost_usd as double) * aggregated.capacity_tokens, 0)
            as break_even_utilization_share,
        cast(aggregated.cost_usd as double) * 1000000 / nullif(aggregated.used_tokens, 0) as effective_usd_per_mtok,
        cast(aggregated.on_demand_cost_usd as double) * 1000000 / nullif(aggregated.used_tokens, 0)
            as on_demand_usd_per_mtok,
        aggregated.event_date
    from aggregated
    left join commitments on aggregated.commitment_id = commitments.commitment_id
)

select * from final
