{%- set period = period_columns() -%}
{%- set compared = compared_columns() -%}
{%- set model_kind = ['provider_name', 'billing_account_id', 'model_id', 'unit_kind_type'] -%}
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
        {{ listed(period + compared, 'ledger.') }},
        sum(ledger.quantity_units + ledger.provisioned_units) as quantity_units,
        sum(ledger.provisioned_units) as provisioned_units
    from {{ ref('int_reconciliation__ledger') }} as ledger
    inner join reported_days
        on
            {{ same_values('ledger', 'reported_days', period) }}
            and ledger.event_date >= reported_days.first_date
            and ledger.event_date <= reported_days.last_date
    where ledger.unit_kind_type <> 'request'
    group by
        {{ listed(period + compared, 'ledger.') }}
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
    group by
        {{ listed(period) }},
        {{ listed(compared, 'key_') }}
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
bill_lines as (
    select
        {{ listed(period, 'billed.') }},
        coalesce(billed.model_id, billed.model_name) as model_id,
        billed.service_tier,
        billed.unit_kind_type,
        billed.consumed_quantity_units
    from {{ ref('fct_invoice_lines') }} as billed
    inner join reported_days on {{ same_values('billed', 'reported_days', period) }}
    where
        billed.is_bill
        and billed.driver_type = 'calls'
        and billed.unit_kind_type is not null
),

told_kinds as (
    select distinct
        provider_name,
        billing_account_id,
        unit_kind_type
    from usage_keys
),

untold_kinds as (
    select distinct {{ listed(model_kind, 'bill_lines.') }}
    from bill_lines
    left join told_kinds
        on {{ same_values('bill_lines', 'told_kinds', ['provider_name', 'billing_account_id', 'unit_kind_type']) }}
    where told_kinds.provider_name is null
),

-- A kind that an account's reports name nowhere stands within the kind whose price stands in for it: cached input.
kinds_within_others as (
    select
        {{ listed(model_kind) }},
        reported_kind_type
    from (
        select
            untold_kinds.*,
            usage_keys.unit_kind_type as reported_kind_type,
            row_number() over (
                partition by
                    {{ listed(model_kind, 'untold_kinds.') }}
                order by {{ kind_rank('untold_kinds.unit_kind_type', 'usage_keys.unit_kind_type') }} desc
            ) as choice_rank
        from untold_kinds
        inner join usage_keys
            on
                {{ same_values('untold_kinds', 'usage_keys', ['provider_name', 'billing_account_id', 'model_id']) }}
                and {{ kind_rank('untold_kinds.unit_kind_type', 'usage_keys.unit_kind_type') }} is not null
    ) as ranked
    where choice_rank = 1
),

bill_keys as (
    select
        {{ listed(period, 'bill_lines.') }},
        bill_lines.model_id,
        bill_lines.service_tier,
        coalesce(kinds_within_others.reported_kind_type, bill_lines.unit_kind_type) as unit_kind_type,
        sum(bill_lines.consumed_quantity_units) as billed_units
    from bill_lines
    left join kinds_within_others on {{ same_values('bill_lines', 'kinds_within_others', model_kind) }}
    group by
        {{ listed(period, 'bill_lines.') }}, bill_lines.model_id, bill_lines.service_tier,
        coalesce(kinds_within_others.reported_kind_type, bill_lines.unit_kind_type)
    having count(bill_lines.consumed_quantity_units) = count(*)
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
    group by
        {{ listed(period) }},
        {{ listed(compared, 'key_') }}
),

usage_by_bill as (
    select
        {{ period | join(', ') }},
        {% for column in compared -%}
        key_{{ column }} as {{ column }},
        {% endfor -%}
        max(document_type) as document_type,
        sum(quantity_units) as quantity_units,
        sum(workbench_units) as workbench_units
    from covered_usage
    where document_type is not null
    group by
        {{ listed(period) }},
        {{ listed(compared, 'key_') }}
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
        coalesce(bill_keys.billed_units, 0) as billed_units,
        coalesce(usage_by_bill.workbench_units, 0) as workbench_units
    from bill_keys
    full outer join usage_by_bill on {{ same_values('bill_keys', 'usage_by_bill', period + compared) }}
    left join provisioned_by_bill
        on {{ same_values('usage_by_bill', 'provisioned_by_bill', period + compared) }}
),

-- What the workbench used may be billed under a line of its own.
bill_shortages as (
    select
        *,
        case
            when paid_units > billed_units then least(workbench_units, paid_units - billed_units)
            else 0
        end as unbilled_workbench_units
    from bill_differences
),

bill_rows as (
    select
        *,
        cast(null as varchar) as cause_type,
        paid_units as quantity
    from bill_shortages
    where is_reported
    union all
    select
        *,
        'workbench_use' as cause_type,
        -unbilled_workbench_units as quantity
    from bill_shortages
    where unbilled_workbench_units > 0
    union all
    select
        bill_shortages.*,
        case
            when
                not bill_shortages.is_billed
                and bill_shortages.document_type = 'cost_report'
                and billed_tiers.provider_name is null
                and coalesce(bill_shortages.service_tier, 'standard') <> 'standard'
                then 'tier_absent_from_report'
            else 'unexplained'
        end as cause_type,
        bill_shortages.billed_units + bill_shortages.unbilled_workbench_units - bill_shortages.paid_units as quantity
    from bill_shortages
    left join billed_tiers on {{ same_values('bill_shortages', 'billed_tiers', period + ['service_tier']) }}
    where bill_shortages.billed_units + bill_shortages.unbilled_workbench_units <> bill_shortages.paid_units
),

final as (
    {%- for layer, rows in [('calls_to_usage_report', 'usage_rows'), ('usage_report_to_bill', 'bill_rows')] %}
    select
        '{{ layer }}' as layer_type,
        {{ (period + compared) | join(',\n        ') }},
        cause_type,
        cast(quantity as decimal(28, 3)) as quantity_units
    from {{ rows }}
    {{- '\n    union all' if not loop.last }}
    {%- endfor %}
)

select * from final
