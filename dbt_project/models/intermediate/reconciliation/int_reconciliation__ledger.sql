with

charges as (
    select * from {{ ref('int_allocation__daily_charges') }}
),

days as (
    select distinct
        provider_name,
        billing_account_id,
        event_date
    from charges
),

-- Each day of an account is in one period, of several that overlap in the one that began last.
day_periods as (
    select
        days.provider_name,
        days.billing_account_id,
        days.event_date,
        periods.billing_account_id as paying_account_id,
        periods.billing_period_start_date,
        periods.billing_period_end_date,
        row_number() over (
            partition by days.provider_name, days.billing_account_id, days.event_date
            order by periods.billing_period_start_date desc, periods.billing_period_end_date asc
        ) as period_rank
    from days
    inner join {{ ref('int_reconciliation__periods') }} as periods
        on
            days.provider_name = periods.provider_name
            and days.event_date >= periods.billing_period_start_date
            and days.event_date < periods.billing_period_end_date
            and (
                days.billing_account_id is not distinct from periods.billing_account_id
                or (days.billing_account_id is null and periods.is_only_account)
            )
),

matched as (
    select
        charges.*,
        day_periods.paying_account_id,
        day_periods.billing_period_start_date,
        day_periods.billing_period_end_date,
        coalesce(charges.model_id, charges.model_name) as named_model_id
    from charges
    inner join day_periods
        on
            {{ same_values('charges', 'day_periods', ['provider_name', 'billing_account_id', 'event_date']) }}
            and day_periods.period_rank = 1
),

final as (
    select
        provider_name,
        paying_account_id as billing_account_id,
        billing_period_start_date,
        billing_period_end_date,
        event_date,
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
    from matched
    group by
        provider_name, paying_account_id, billing_period_start_date, billing_period_end_date, event_date,
        named_model_id, service_tier, unit_kind_type
)

select * from final
