{%- set period = period_columns() -%}
with

-- A provider's cost report beside its invoice: what both charge for the same driver.
documents as (
    select
        billed.provider_name,
        billed.billing_account_id,
        billed.billing_period_start_date,
        billed.driver_type,
        sum(case when billed.document_type = 'invoice' then billed.billed_cost_usd else 0 end) as invoice_usd,
        sum(case when billed.document_type = 'cost_report' then billed.billed_cost_usd else 0 end) as report_usd,
        sum(case when billed.document_type = 'invoice' then {{ rounding_usd('billed.') }} else 0 end) as rounding_usd,
        sum(case when billed.document_type = 'invoice' then 1 else 0 end) as line_count,
        max(case when billed.document_type = 'cost_report' then 1 else 0 end) as report_weight
    from {{ ref('fct_invoice_lines') }} as billed
    group by billed.provider_name, billed.billing_account_id, billed.billing_period_start_date, billed.driver_type
),

reported_periods as (
    select
        {{ period | join(', ') }}
    from documents
    group by {{ period | join(', ') }}
    having max(report_weight) = 1 and sum(line_count) > 0
),

-- A tier with charges on the invoice and none on the report, such as one that is bought ahead.
document_tiers as (
    select
        billed.provider_name,
        billed.billing_account_id,
        billed.billing_period_start_date,
        billed.driver_type,
        billed.service_tier,
        sum(case when billed.document_type = 'invoice' then billed.billed_cost_usd end) as invoice_usd
    from {{ ref('fct_invoice_lines') }} as billed
    where
        billed.driver_type = 'calls'
        and billed.service_tier <> 'standard'
    group by
        billed.provider_name, billed.billing_account_id, billed.billing_period_start_date, billed.driver_type,
        billed.service_tier
    having max(case when billed.document_type = 'cost_report' then 1 else 0 end) = 0
),

absent_tiers as (
    select
        {{ period | join(', ') }},
        driver_type,
        sum(invoice_usd) as absent_usd
    from document_tiers
    group by {{ period | join(', ') }}, driver_type
),

document_differences as (
    select
        documents.*,
        coalesce(absent_tiers.absent_usd, 0) as absent_usd,
        documents.invoice_usd - documents.report_usd - coalesce(absent_tiers.absent_usd, 0) as rest_usd
    from documents
    inner join reported_periods on {{ same_values('documents', 'reported_periods', period) }}
    left join absent_tiers on {{ same_values('documents', 'absent_tiers', period + ['driver_type']) }}
),

document_rows as (
    select
        *,
        cast(null as varchar) as cause_type,
        report_usd as compared_usd,
        report_usd as billed_usd
    from document_differences
    where report_usd <> 0
    union all
    select
        *,
        'tier_absent_from_report' as cause_type,
        0 as compared_usd,
        absent_usd as billed_usd
    from document_differences
    where absent_usd <> 0
    union all
    select
        *,
        case
            when driver_type in ('tax', 'credit', 'refund', 'adjustment') then driver_type
            when driver_type = 'other' then 'other_service'
            when abs(rest_usd) <= rounding_usd then 'rounding'
            else 'unexplained'
        end as cause_type,
        0 as compared_usd,
        rest_usd as billed_usd
    from document_differences
    where rest_usd <> 0
),

final as (
    select
        {{ period | join(',\n        ') }},
        driver_type,
        cause_type,
        case when cause_type is null then line_count else 0 end as line_count,
        cast(compared_usd as decimal(38, 18)) as report_cost_usd,
        cast(billed_usd as decimal(38, 18)) as billed_cost_usd
    from document_rows
)

select * from final
