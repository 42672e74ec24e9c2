with

usage as (
    select * from {{ ref('int_reconciliation__daily_usage') }}
),

day_periods as (
    select * from {{ ref('int_reconciliation__day_periods') }}
),

final as (
    select
        usage.provider_name,
        day_periods.paying_account_id as billing_account_id,
        day_periods.billing_period_start_date,
        day_periods.billing_period_end_date,
        usage.event_date,
        usage.model_id,
        usage.service_tier,
        usage.unit_kind_type,
        {%- for column in ['quantity_units', 'provisioned_units', 'unpriced_units', 'free_units'] %}
        cast(sum(usage.{{ column }}) as decimal(28, 3)) as {{ column }},
        {%- endfor %}
        cast(sum(usage.call_count) as bigint) as call_count,
        cast(sum(usage.unpriced_call_count) as bigint) as unpriced_call_count,
        min(usage.min_usd_per_unit) as min_usd_per_unit,
        max(usage.max_usd_per_unit) as max_usd_per_unit,
        cast(sum(usage.list_cost_usd) as decimal(38, 15)) as list_cost_usd,
        cast(sum(usage.free_usd) as decimal(38, 15)) as free_usd,
        cast(sum(usage.effective_cost_usd) as decimal(38, 15)) as effective_cost_usd,
        cast(sum(usage.capacity_cost_usd) as decimal(38, 15)) as capacity_cost_usd
    from usage
    inner join day_periods
        on {{ same_values('usage', 'day_periods', ['provider_name', 'billing_account_id', 'event_date']) }}
    group by
        usage.provider_name, day_periods.paying_account_id, day_periods.billing_period_start_date,
        day_periods.billing_period_end_date, usage.event_date, usage.model_id, usage.service_tier, usage.unit_kind_type
)

select * from final
