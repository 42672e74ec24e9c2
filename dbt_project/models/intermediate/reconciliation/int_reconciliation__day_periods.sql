with

days as (
    select distinct
        provider_name,
        billing_account_id,
        event_date
    from {{ ref('int_reconciliation__daily_usage') }}
),

ranked as (
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
            days.provider_name is not distinct from periods.provider_name
            and days.event_date >= periods.billing_period_start_date
            and days.event_date < periods.billing_period_end_date
            and (
                days.billing_account_id is not distinct from periods.billing_account_id
                or (days.billing_account_id is null and periods.is_only_account)
            )
),

final as (
    select
        provider_name,
        billing_account_id,
        event_date,
        paying_account_id,
        billing_period_start_date,
        billing_period_end_date
    from ranked
    where period_rank = 1
)

select * from final
