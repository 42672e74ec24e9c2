with

bill_lines as (
    select *
    from {{ ref('fct_invoice_lines') }}
    where is_bill
),

bills as (
    select
        provider_name,
        billing_account_id,
        billing_period_start_date,
        min(cast(billing_period_end_at as date)) as billing_period_end_date,
        min(document_type) as document_type,
        count(*) as line_count,
        count(unconverted_reason_type) as unconverted_line_count,
        cast(coalesce(sum(billed_cost_usd), 0) as decimal(38, 18)) as invoice_usd
    from bill_lines
    group by provider_name, billing_account_id, billing_period_start_date
),

-- What names no account is the provider's only one's, over the days for which it bills one only.
rivals as (
    select
        bills.provider_name,
        bills.billing_account_id,
        bills.billing_period_start_date,
        count(distinct rival_bills.billing_account_id) = 1 as is_only_account
    from bills
    inner join bills as rival_bills
        on
            bills.provider_name = rival_bills.provider_name
            and bills.billing_period_start_date < rival_bills.billing_period_end_date
            and bills.billing_period_end_date > rival_bills.billing_period_start_date
    group by bills.provider_name, bills.billing_account_id, bills.billing_period_start_date
),

billed as (
    select
        bills.*,
        rivals.is_only_account
    from bills
    inner join rivals on {{ same_values('bills', 'rivals', period_columns()) }}
),

days as (
    select distinct
        provider_name,
        billing_account_id,
        event_date
    from {{ ref('int_reconciliation__daily_usage') }}
),

-- Days on which an account has calls and no bill of its own: they are of the provider's period, else of the month.
unbilled_days as (
    select
        days.provider_name,
        days.billing_account_id,
        days.event_date
    from days
    left join billed
        on
            days.provider_name = billed.provider_name
            and (
                days.billing_account_id = billed.billing_account_id
                or (days.billing_account_id is null and billed.is_only_account)
            )
            and days.event_date >= billed.billing_period_start_date
            and days.event_date < billed.billing_period_end_date
    where billed.provider_name is null
),

provider_periods as (
    select
        unbilled_days.provider_name,
        unbilled_days.billing_account_id,
        unbilled_days.event_date,
        max(
            case
                when billed.billing_period_end_date > unbilled_days.event_date then billed.billing_period_start_date
                when billed.billing_account_id is not distinct from unbilled_days.billing_account_id
                    then billed.billing_period_end_date
            end
        ) as earliest_start_date,
        min(case when billed.billing_period_end_date > unbilled_days.event_date then billed.billing_period_end_date end)
            as covering_end_date
    from unbilled_days
    left join billed
        on
            unbilled_days.provider_name = billed.provider_name
            and unbilled_days.event_date >= billed.billing_period_start_date
    group by unbilled_days.provider_name, unbilled_days.billing_account_id, unbilled_days.event_date
),

unbilled as (
    select
        provider_name,
        billing_account_id,
        greatest(
            cast(date_trunc('month', event_date) as date),
            coalesce(earliest_start_date, cast(date_trunc('month', event_date) as date))
        ) as billing_period_start_date,
        coalesce(
            covering_end_date, cast(date_trunc('month', event_date) + interval '1' month as date)
        ) as billing_period_end_date
    from provider_periods
),

unbilled_periods as (
    select
        provider_name,
        billing_account_id,
        billing_period_start_date,
        max(billing_period_end_date) as billing_period_end_date
    from unbilled
    group by provider_name, billing_account_id, billing_period_start_date
),

all_periods as (
    select
        provider_name,
        billing_account_id,
        billing_period_start_date,
        billing_period_end_date,
        document_type,
        line_count,
        unconverted_line_count,
        invoice_usd,
        is_only_account
    from billed
    union all
    select
        unbilled_periods.provider_name,
        unbilled_periods.billing_account_id,
        unbilled_periods.billing_period_start_date,
        unbilled_periods.billing_period_end_date,
        cast(null as varchar) as document_type,
        cast(0 as bigint) as line_count,
        cast(0 as bigint) as unconverted_line_count,
        cast(null as decimal(38, 18)) as invoice_usd,
        false as is_only_account
    from unbilled_periods
    left join billed on {{ same_values('unbilled_periods', 'billed', period_columns()) }}
    where billed.provider_name is null
),

-- Of a provider that bills several accounts, calls that name none may be any account's.
nameless as (
    select
        provider_name,
        billing_period_start_date,
        billing_period_end_date
    from unbilled_periods
    where billing_account_id is null
),

final as (
    select
        all_periods.provider_name,
        all_periods.billing_account_id,
        all_periods.billing_period_start_date,
        max(all_periods.billing_period_end_date) as billing_period_end_date,
        max(all_periods.document_type) as document_type,
        max(all_periods.line_count) as line_count,
        max(all_periods.unconverted_line_count) as unconverted_line_count,
        max(all_periods.invoice_usd) as invoice_usd,
        coalesce(max(case when all_periods.is_only_account then 1 else 0 end) = 1, false) as is_only_account,
        count(nameless.provider_name) > 0 as has_calls_of_unknown_account
    from all_periods
    left join nameless
        on
            all_periods.provider_name = nameless.provider_name
            and all_periods.document_type is not null
            and all_periods.billing_period_start_date < nameless.billing_period_end_date
            and all_periods.billing_period_end_date > nameless.billing_period_start_date
    group by all_periods.provider_name, all_periods.billing_account_id, all_periods.billing_period_start_date
)

select * from final
