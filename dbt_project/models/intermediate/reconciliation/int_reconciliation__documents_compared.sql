{%- set period = period_columns() -%}
with

-- A provider's cost report beside its invoice: what both charge for the same driver.
documents as (
    select
        billed.provider_name,
        billed.billing_account_id,
        billed.billing_period_start_date,
        billed.driver_type,
        case
            when billed.driver_type not in ('calls', 'commitment')
                then {{ cause_of_charge('billed.driver_type', 'billed.component_name') }}
        end as charge_cause_type,
        sum(case when billed.document_type = 'invoice' then billed.billed_cost_usd else 0 end) as invoice_usd,
        sum(case when billed.document_type = 'cost_report' then billed.billed_cost_usd else 0 end) as report_usd,
        sum(case when billed.document_type = 'invoice' then {{ rounding_usd('billed.') }} else 0 end) as rounding_usd,
        sum(case when billed.document_type = 'invoice' then 1 else 0 end) as line_count,
        max(case when billed.document_type = 'cost_report' then 1 else 0 end) as report_weight
    from {{ ref('fct_invoice_lines') }} as billed
    group by
        billed.provider_name,
        billed.billing_account_id,
        billed.billing_period_start_date,
        billed.driver_type,
        case
            when billed.driver_type not in ('calls', 'commitment')
                then {{ cause_of_charge('billed.driver_type', 'billed.component_name') }}
        end
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

-- Use of the workbench may be a line of its own on the invoice, while the report counts it among the calls.
workbench as (
    select
        {{ period | join(', ') }},
        sum(invoice_usd - report_usd) as workbench_usd
    from documents
    where charge_cause_type = 'workbench_use'
    group by {{ period | join(', ') }}
),

document_differences as (
    select
        documents.*,
        coalesce(absent_tiers.absent_usd, 0) as absent_usd,
        case when documents.driver_type = 'calls' then coalesce(workbench.workbench_usd, 0) else 0 end as workbench_usd,
        documents.invoice_usd - documents.report_usd - coalesce(absent_tiers.absent_usd, 0) as rest_usd
    from documents
    inner join reported_periods on {{ same_values('documents', 'reported_periods', period) }}
    left join absent_tiers on {{ same_values('documents', 'absent_tiers', period + ['driver_type']) }}
    left join workbench on {{ same_values('documents', 'workbench', period) }}
),

moved as (
    select
        *,
        case
            when abs(rest_usd) > rounding_usd and abs(rest_usd + workbench_usd) <= rounding_usd then -workbench_usd
            else 0
        end as moved_usd
    from document_differences
),

document_rows as (
    {%- for cause, compared_usd, billed_usd, condition in [
        ('cast(null as varchar)', 'report_usd', 'report_usd', 'report_usd <> 0'),
        ("'tier_absent_from_report'", '0', 'absent_usd', 'absent_usd <> 0'),
        ("'workbench_use'", '0', 'moved_usd', 'moved_usd <> 0'),
    ] %}
    select
        {{ period | join(', ') }},
        driver_type,
        {{ cause }} as cause_type,
        line_count,
        {{ compared_usd }} as compared_usd,
        {{ billed_usd }} as billed_usd
    from moved
    where {{ condition }}
    union all
    {%- endfor %}
    select
        {{ period | join(', ') }},
        driver_type,
        case
            when charge_cause_type is not null then charge_cause_type
            when abs(rest_usd - moved_usd) <= rounding_usd then 'rounding'
            else 'unexplained'
        end as cause_type,
        line_count,
        0 as compared_usd,
        rest_usd - moved_usd as billed_usd
    from moved
    where rest_usd <> moved_usd
),

final as (
    select
        {{ (period + ['driver_type', 'cause_type']) | join(',\n        ') }},
        sum(case when cause_type is null then line_count else 0 end) as line_count,
        cast(sum(compared_usd) as decimal(38, 18)) as report_cost_usd,
        cast(sum(billed_usd) as decimal(38, 18)) as billed_cost_usd
    from document_rows
    group by {{ (period + ['driver_type', 'cause_type']) | join(', ') }}
)

select * from final
