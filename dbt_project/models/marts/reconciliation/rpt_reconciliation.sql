{%- set period = period_columns() -%}
{%- set compared = compared_columns() -%}
with

periods as (
    select * from {{ ref('int_reconciliation__periods') }}
),

usage as (
    select
        reported.*,
        coalesce(reported.model_id, reported.model_name) as named_model_id,
        periods.billing_account_id as paying_account_id,
        periods.billing_period_start_date,
        periods.document_type
    from {{ ref('fct_provider_usage') }} as reported
    inner join periods
        on
            reported.provider_name = periods.provider_name
            and (
                reported.billing_account_id is not distinct from periods.billing_account_id
                or (reported.billing_account_id is null and periods.is_only_account)
            )
            and reported.event_date >= periods.billing_period_start_date
            and reported.event_date < periods.billing_period_end_date
),

-- Calls are compared on the days that a report covers.
reported_days as (
    select
        provider_name,
        paying_account_id as billing_account_id,
        billing_period_start_date,
        min(event_date) as first_date,
        max(event_date) as last_date
    from usage
    group by provider_name, paying_account_id, billing_period_start_date
),

usage_keys as (
    select
        provider_name,
        paying_account_id as billing_account_id,
        billing_period_start_date,
        named_model_id as model_id,
        service_tier,
        unit_kind_type,
        max(document_type) as document_type,
        sum(quantity_units) as quantity_units,
        sum(case when is_workbench then quantity_units else 0 end) as workbench_units
    from usage
    group by
        provider_name, paying_account_id, billing_period_start_date, named_model_id, service_tier, unit_kind_type
),

ledger_keys as (
    select
        {% for column in period + compared -%}
        ledger.{{ column }},
        {% endfor -%}
        sum(ledger.quantity_units + ledger.provisioned_units) as quantity_units,
        sum(ledger.provisioned_units) as provisioned_units
    from {{ ref('int_reconciliation__ledger') }} as ledger
    inner join reported_days
        on
            {{ same_values('ledger', 'reported_days', period) }}
            and ledger.event_date >= reported_days.first_date
            and ledger.event_date <= reported_days.last_date
    where ledger.unit_kind_type <> 'request'
    group by {% for column in period + compared %}ledger.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
),

covered_ledger as (
    {{ covered_by('ledger_keys', 'usage_keys', period) }}
),

ledger_by_usage as (
    select
        {{ period | join(', ') }},
        {% for column in compared -%}
        key_{{ column }} as {{ column }},
        {% endfor -%}
        sum(quantity_units) as quantity_units
    from covered_ledger
    group by {{ period | join(', ') }}{% for column in compared %}, key_{{ column }}{% endfor %}
),

usage_differences as (
    select
        {% for column in period + compared -%}
        coalesce(usage_keys.{{ column }}, ledger_by_usage.{{ column }}) as {{ column }},
        {% endfor -%}
        usage_keys.provider_name is not null as is_reported,
        ledger_by_usage.quantity_units as matched_units,
        coalesce(usage_keys.quantity_units, 0) - coalesce(ledger_by_usage.quantity_units, 0) as difference_units,
        coalesce(usage_keys.workbench_units, 0) as workbench_units
    from usage_keys
    full outer join ledger_by_usage on {{ same_values('usage_keys', 'ledger_by_usage', period + compared) }}
),

usage_rows as (
    select
        *,
        cast(null as varchar) as cause_type,
        matched_units as quantity
    from usage_differences
    where matched_units is not null
    union all
    select
        *,
        'workbench_use' as cause_type,
        least(workbench_units, difference_units) as quantity
    from usage_differences
    where
        workbench_units > 0
        and difference_units > 0
    union all
    select
        *,
        case
            when difference_units > 0 then 'missing_telemetry'
            when not is_reported and coalesce(service_tier, 'standard') <> 'standard' then 'tier_absent_from_report'
            else 'unexplained'
        end as cause_type,
        difference_units - case when difference_units > 0 then least(workbench_units, difference_units) else 0 end
            as quantity
    from usage_differences
    where difference_units <> case when difference_units > 0 then least(workbench_units, difference_units) else 0 end
),

-- Bills count what is paid by the unit: what bought capacity served is not.
bill_keys as (
    select
        lines.provider_name,
        lines.billing_account_id,
        lines.billing_period_start_date,
        coalesce(lines.model_id, lines.model_name) as model_id,
        lines.service_tier,
        lines.unit_kind_type,
        sum(lines.consumed_quantity_units) as billed_units
    from {{ ref('fct_invoice_lines') }} as lines
    inner join reported_days on {{ same_values('lines', 'reported_days', period) }}
    where
        lines.is_bill
        and lines.driver_type = 'calls'
        and lines.unit_kind_type is not null
    group by
        lines.provider_name, lines.billing_account_id, lines.billing_period_start_date,
        coalesce(lines.model_id, lines.model_name), lines.service_tier, lines.unit_kind_type
    having count(lines.consumed_quantity_units) = count(*)
),

covered_usage as (
    {{ covered_by('usage_keys', 'bill_keys', period) }}
),

provisioned as (
    {{ covered_by('ledger_keys', 'bill_keys', period) }}
),

provisioned_by_bill as (
    select
        {{ period | join(', ') }},
        {% for column in compared -%}
        key_{{ column }} as {{ column }},
        {% endfor -%}
        sum(provisioned_units) as provisioned_units
    from provisioned
    group by {{ period | join(', ') }}{% for column in compared %}, key_{{ column }}{% endfor %}
),

usage_by_bill as (
    select
        {{ period | join(', ') }},
        {% for column in compared -%}
        key_{{ column }} as {{ column }},
        {% endfor -%}
        max(document_type) as document_type,
        sum(quantity_units) as quantity_units
    from covered_usage
    where document_type is not null
    group by {{ period | join(', ') }}{% for column in compared %}, key_{{ column }}{% endfor %}
),

billed_tiers as (
    select distinct
        {{ period | join(', ') }},
        service_tier
    from bill_keys
),

bill_differences as (
    select
        {% for column in period + compared -%}
        coalesce(bill_keys.{{ column }}, usage_by_bill.{{ column }}) as {{ column }},
        {% endfor -%}
        bill_keys.provider_name is not null as is_billed,
        usage_by_bill.provider_name is not null as is_reported,
        usage_by_bill.document_type,
        coalesce(usage_by_bill.quantity_units, 0) - coalesce(provisioned_by_bill.provisioned_units, 0) as paid_units,
        coalesce(bill_keys.billed_units, 0) as billed_units
    from bill_keys
    full outer join usage_by_bill on {{ same_values('bill_keys', 'usage_by_bill', period + compared) }}
    left join provisioned_by_bill
        on {{ same_values('usage_by_bill', 'provisioned_by_bill', period + compared) }}
),

bill_rows as (
    select
        *,
        cast(null as varchar) as cause_type,
        paid_units as quantity
    from bill_differences
    where is_reported
    union all
    select
        bill_differences.*,
        case
            when
                not bill_differences.is_billed
                and bill_differences.document_type = 'cost_report'
                and billed_tiers.provider_name is null
                and coalesce(bill_differences.service_tier, 'standard') <> 'standard'
                then 'tier_absent_from_report'
            else 'unexplained'
        end as cause_type,
        bill_differences.billed_units - bill_differences.paid_units as quantity
    from bill_differences
    left join billed_tiers on {{ same_values('bill_differences', 'billed_tiers', period + ['service_tier']) }}
    where bill_differences.billed_units <> bill_differences.paid_units
),

-- A provider's cost report beside its invoice: what both charge for the same driver.
documents as (
    select
        lines.provider_name,
        lines.billing_account_id,
        lines.billing_period_start_date,
        lines.driver_type,
        sum(case when lines.document_type = 'invoice' then lines.billed_cost_usd else 0 end) as invoice_usd,
        sum(case when lines.document_type = 'cost_report' then lines.billed_cost_usd else 0 end) as report_usd,
        sum(case when lines.document_type = 'invoice' then {{ rounding_usd('lines') }} else 0 end) as rounding_usd,
        sum(case when lines.document_type = 'invoice' then 1 else 0 end) as line_count,
        max(case when lines.document_type = 'cost_report' then 1 else 0 end) as report_weight
    from {{ ref('fct_invoice_lines') }} as lines
    group by lines.provider_name, lines.billing_account_id, lines.billing_period_start_date, lines.driver_type
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
        lines.provider_name,
        lines.billing_account_id,
        lines.billing_period_start_date,
        lines.driver_type,
        lines.service_tier,
        sum(case when lines.document_type = 'invoice' then lines.billed_cost_usd end) as invoice_usd
    from {{ ref('fct_invoice_lines') }} as lines
    where
        lines.driver_type = 'calls'
        and lines.service_tier <> 'standard'
    group by
        lines.provider_name, lines.billing_account_id, lines.billing_period_start_date, lines.driver_type,
        lines.service_tier
    having max(case when lines.document_type = 'cost_report' then 1 else 0 end) = 0
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
        'calls_to_bill' as layer_type,
        provider_name,
        billing_account_id,
        component_name,
        driver_type,
        bom_layer_type,
        model_id,
        service_tier,
        unit_kind_type,
        commitment_id,
        tagged_use_case_id,
        tagged_team_name,
        status_type,
        cause_type,
        line_count,
        quantity_units,
        usd_per_unit,
        ledger_cost_usd as compared_cost_usd,
        billed_cost_usd,
        cast(billed_cost_usd - ledger_cost_usd as decimal(38, 18)) as difference_usd,
        evidence,
        billing_period_start_date
    from {{ ref('int_reconciliation__bridges') }}
    {%- for layer, rows in [('calls_to_usage_report', 'usage_rows'), ('usage_report_to_bill', 'bill_rows')] %}
    union all
    select
        '{{ layer }}' as layer_type,
        provider_name,
        billing_account_id,
        'calls' as component_name,
        'calls' as driver_type,
        'model_calls' as bom_layer_type,
        model_id,
        service_tier,
        unit_kind_type,
        cast(null as varchar) as commitment_id,
        cast(null as varchar) as tagged_use_case_id,
        cast(null as varchar) as tagged_team_name,
        case
            when cause_type is null then 'matched'
            when cause_type = 'unexplained' then 'unexplained'
            else 'explained'
        end as status_type,
        cause_type,
        cast(0 as bigint) as line_count,
        cast(quantity as decimal(28, 3)) as quantity_units,
        cast(null as decimal(38, 15)) as usd_per_unit,
        cast(null as decimal(38, 18)) as compared_cost_usd,
        cast(null as decimal(38, 18)) as billed_cost_usd,
        cast(null as decimal(38, 18)) as difference_usd,
        cast(null as varchar) as evidence,
        billing_period_start_date
    from {{ rows }}
    {%- endfor %}
    union all
    select
        'cost_report_to_invoice' as layer_type,
        provider_name,
        billing_account_id,
        driver_type as component_name,
        driver_type,
        cast(null as varchar) as bom_layer_type,
        cast(null as varchar) as model_id,
        cast(null as varchar) as service_tier,
        cast(null as varchar) as unit_kind_type,
        cast(null as varchar) as commitment_id,
        cast(null as varchar) as tagged_use_case_id,
        cast(null as varchar) as tagged_team_name,
        case
            when cause_type is null then 'matched'
            when cause_type = 'unexplained' then 'unexplained'
            else 'explained'
        end as status_type,
        cause_type,
        cast(case when cause_type is null then line_count else 0 end as bigint) as line_count,
        cast(null as decimal(28, 3)) as quantity_units,
        cast(null as decimal(38, 15)) as usd_per_unit,
        cast(compared_usd as decimal(38, 18)) as compared_cost_usd,
        cast(billed_usd as decimal(38, 18)) as billed_cost_usd,
        cast(billed_usd - compared_usd as decimal(38, 18)) as difference_usd,
        cast(null as varchar) as evidence,
        billing_period_start_date
    from document_rows
)

select * from final
