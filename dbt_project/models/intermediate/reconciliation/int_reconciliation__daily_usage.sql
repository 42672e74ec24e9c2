{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

charges as (
    select
        *,
        coalesce(model_id, model_name) as named_model_id
    from {{ ref('int_allocation__daily_charges') }}
    where {{ in_window('event_date') }}
),

final as (
    select
        event_date,
        provider_name,
        billing_account_id,
        named_model_id as model_id,
        service_tier,
        unit_kind_type,
        cast(sum(case when pricing_status_type = 'provisioned' then 0 else quantity_units end) as decimal(28, 3))
            as quantity_units,
        cast(sum(case when pricing_status_type = 'provisioned' then quantity_units else 0 end) as decimal(28, 3))
            as provisioned_units,
        cast(sum(case when pricing_status_type = 'unpriced' then quantity_units else 0 end) as decimal(28, 3))
            as unpriced_units,
        cast(sum(case when pricing_status_type = 'priced' then free_units else 0 end) as decimal(28, 3)) as free_units,
        cast(sum(call_count) as bigint) as call_count,
        cast(sum(case when pricing_status_type = 'unpriced' then call_count else 0 end) as bigint)
            as unpriced_call_count,
        min(case when pricing_status_type = 'priced' then contracted_usd_per_unit end) as min_usd_per_unit,
        max(case when pricing_status_type = 'priced' then contracted_usd_per_unit end) as max_usd_per_unit,
        cast(sum(case when pricing_status_type = 'priced' then list_cost_usd end) as decimal(38, 15)) as list_cost_usd,
        cast(
            sum(case when pricing_status_type = 'priced' then free_units * contracted_usd_per_unit end)
            as decimal(38, 15)
        ) as free_usd,
        cast(sum(case when pricing_status_type = 'priced' then effective_cost_usd end) as decimal(38, 15))
            as effective_cost_usd,
        cast(sum(case when pricing_status_type = 'provisioned' then effective_cost_usd end) as decimal(38, 15))
            as capacity_cost_usd
    from charges
    group by event_date, provider_name, billing_account_id, named_model_id, service_tier, unit_kind_type
)

select * from final
