{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

{%- set nano_usd = 'cast(0.000000001 as decimal(10, 9))' %}
with

hours as (
    select *
    from {{ ref('int_capacity__deployment_hours') }}
    where {{ in_window('event_date') }}
),

calls as (
    select
        deployment_id,
        rate_card_key,
        output_tokens,
        reasoning_tokens,
        output_audio_tokens,
        list_cost_usd,
        {{ utc_hour('called_at') }} as hour_at
    from {{ ref('fct_calls') }}
    where
        {{ in_window('event_date') }}
        and pricing_status_type = 'provisioned'
),

-- What the same calls would have cost on demand; null as soon as one of them has no list price.
on_demand as (
    select
        deployment_id,
        hour_at,
        case when count(list_cost_usd) = count(*) then cast(sum(list_cost_usd) as decimal(38, 15)) end as list_cost_usd
    from calls
    group by deployment_id, hour_at
),

bundled as (
    select distinct deployment_id
    from hours
    where direction_type is not null
),

cards as (
    select
        rate_card_key,
        max(list_output_usd_per_unit) as list_output_usd_per_unit,
        max(list_reasoning_usd_per_unit) as list_reasoning_usd_per_unit,
        max(list_output_audio_usd_per_unit) as list_output_audio_usd_per_unit
    from {{ ref('int_pricing__rate_cards') }}
    group by rate_card_key
),

on_demand_output as (
    select
        calls.deployment_id,
        calls.hour_at,
        cast(sum(
            {%- for kind in ('output', 'reasoning', 'output_audio') %}
            {{ '+ ' if not loop.first }}case
                when calls.{{ kind }}_tokens = 0 then 0
                else calls.{{ kind }}_tokens * cards.list_{{ kind }}_usd_per_unit
            end
            {%- endfor %}
        ) as decimal(38, 15)) as list_cost_usd
    from calls
    inner join bundled on calls.deployment_id = bundled.deployment_id
    left join cards on calls.rate_card_key = cards.rate_card_key
    group by calls.deployment_id, calls.hour_at
),

compared as (
    select
        hours.*,
        case hours.direction_type
            when 'input' then on_demand.list_cost_usd - on_demand_output.list_cost_usd
            when 'output' then case when on_demand.list_cost_usd is not null then on_demand_output.list_cost_usd end
            else on_demand.list_cost_usd
        end as on_demand_cost_usd
    from hours
    left join on_demand
        on
            hours.deployment_id = on_demand.deployment_id
            and hours.hour_at = on_demand.hour_at
            and hours.allocation_type = 'deployment'
    left join on_demand_output
        on
            hours.deployment_id = on_demand_output.deployment_id
            and hours.hour_at = on_demand_output.hour_at
            and hours.allocation_type = 'deployment'
),

costed as (
    select
        *,
        cast((used_nano_usd + idle_nano_usd + unallocated_nano_usd) * {{ nano_usd }} as decimal(28, 9)) as cost_usd
    from compared
),

final as (
    select
        commitment_id,
        deployment_id,
        case
            when allocation_type = 'not_deployed' then concat(deployment_id, ' not deployed')
            else coalesce(deployment_id, allocation_type)
        end as allocation_id,
        allocation_type,
        direction_type,
        units_count,
        unit_minute_count,
        capacity_tokens,
        used_tokens,
        spillover_tokens,
        inferred_spillover_tokens,
        call_count,
        spillover_call_count,
        throttled_call_count,
        measurement_count,
        cost_usd,
        cast(used_nano_usd * {{ nano_usd }} as decimal(28, 9)) as used_cost_usd,
        cast(idle_nano_usd * {{ nano_usd }} as decimal(28, 9)) as idle_cost_usd,
        cast(unallocated_nano_usd * {{ nano_usd }} as decimal(28, 9)) as unallocated_cost_usd,
        cast(overage_nano_usd * {{ nano_usd }} as decimal(28, 9)) as overage_cost_usd,
        cast(unattributed_nano_usd * {{ nano_usd }} as decimal(28, 9)) as unattributed_cost_usd,
        cast(on_demand_cost_usd as decimal(38, 15)) as on_demand_cost_usd,
        case
            when inferred_spillover_tokens = 0 then cast(0 as decimal(28, 9))
            else cast({{ integer_divide(
                'cast(on_demand_cost_usd * 1000000000 as decimal(38, 0)) * inferred_spillover_tokens', 'used_tokens'
            ) }} * {{ nano_usd }} as decimal(28, 9))
        end as inferred_spillover_cost_usd,
        cast(used_tokens as double) / nullif(capacity_tokens, 0) as utilization_share,
        measured_utilization_share,
        cast(used_tokens as double) / nullif(used_tokens + spillover_tokens, 0) as coverage_share,
        cast(cost_usd as double) * cast(used_tokens as double)
        / nullif(cast(on_demand_cost_usd as double) * capacity_tokens, 0) as break_even_utilization_share,
        cast(cost_usd as double) * 1000000 / nullif(used_tokens, 0) as effective_usd_per_mtok,
        cast(on_demand_cost_usd as double) * 1000000 / nullif(used_tokens, 0) as on_demand_usd_per_mtok,
        hour_at,
        event_date
    from costed
)

select * from final
