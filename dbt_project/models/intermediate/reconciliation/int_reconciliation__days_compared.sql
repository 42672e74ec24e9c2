{%- set day_columns = ['provider_name', 'billing_account_id', 'event_date'] -%}
{%- set compared = compared_columns() -%}
{%- set keys = day_columns + compared -%}
{%- set figures = [
    'line_count', 'compared_units', 'reported_units', 'workbench_units', 'unpriced_units', 'uncosted_units',
    'usd_per_unit', 'compared_cost_usd', 'reported_cost_usd', 'free_usd', 'discount_usd', 'rounding_usd',
] -%}
with

usage_keys as (
    select
        provider_name,
        billing_account_id,
        event_date,
        coalesce(model_id, model_name) as model_id,
        service_tier,
        unit_kind_type,
        sum(quantity_units) as reported_units,
        sum(case when is_workbench then quantity_units else 0 end) as workbench_units
    from {{ ref('fct_provider_usage') }}
    group by
        provider_name, billing_account_id, event_date, coalesce(model_id, model_name), service_tier, unit_kind_type
),

cost_lines as (
    select
        *,
        cast(charge_period_start_at as date) as event_date
    from {{ ref('fct_invoice_lines') }}
    where {{ is_line_of_daily_report() }}
),

-- A report has no rows for a quiet day: it covers all from its first day to its last one.
reported_days as (
    select
        provider_name,
        billing_account_id,
        min(usage_date) as first_usage_date,
        max(usage_date) as last_usage_date,
        min(cost_date) as first_cost_date,
        max(cost_date) as last_cost_date
    from (
        select
            provider_name,
            billing_account_id,
            event_date as usage_date,
            cast(null as date) as cost_date
        from usage_keys
        union all
        select
            provider_name,
            billing_account_id,
            cast(null as date) as usage_date,
            event_date as cost_date
        from cost_lines
    ) as dates
    group by provider_name, billing_account_id
),

account_counts as (
    select
        provider_name,
        count(*) as account_count
    from reported_days
    group by provider_name
),

-- Calls that name no account are those of the provider's only one.
ledger_keys as (
    select
        reported_days.provider_name,
        reported_days.billing_account_id,
        ledger.event_date,
        {{ listed(compared, 'ledger.') }},
        coalesce(ledger.event_date between reported_days.first_usage_date and reported_days.last_usage_date, false)
            as has_usage_report,
        sum(ledger.quantity_units + ledger.provisioned_units) as called_units,
        sum(ledger.provisioned_units) as provisioned_units,
        sum(ledger.unpriced_units) as unpriced_units,
        sum(ledger.free_units) as free_units,
        min(ledger.min_usd_per_unit) as min_usd_per_unit,
        max(ledger.max_usd_per_unit) as max_usd_per_unit,
        sum(ledger.list_cost_usd) as list_cost_usd,
        sum(ledger.free_usd) as free_usd,
        sum(ledger.effective_cost_usd) as effective_cost_usd
    from {{ ref('int_reconciliation__ledger') }} as ledger
    inner join account_counts on ledger.provider_name = account_counts.provider_name
    inner join reported_days
        on
            ledger.provider_name = reported_days.provider_name
            and (
                ledger.billing_account_id is not distinct from reported_days.billing_account_id
                or (ledger.billing_account_id is null and account_counts.account_count = 1)
            )
    where
        ledger.quantity_units + ledger.provisioned_units > 0
        and (ledger.unit_kind_type <> 'request' or ledger.effective_cost_usd <> 0)
    group by
        reported_days.provider_name, reported_days.billing_account_id, ledger.event_date,
        {{ listed(compared, 'ledger.') }},
        reported_days.first_usage_date, reported_days.last_usage_date
),

-- Of a provider with several accounts, calls that name none may be any account's.
nameless_days as (
    select distinct
        ledger.provider_name,
        ledger.event_date
    from {{ ref('int_reconciliation__ledger') }} as ledger
    inner join account_counts on ledger.provider_name = account_counts.provider_name
    where
        ledger.billing_account_id is null
        and account_counts.account_count > 1
),

calls_of_usage_days as (
    select * from ledger_keys
    where has_usage_report
),

covered_calls as (
    {{ covered_by('calls_of_usage_days', 'usage_keys', day_columns) }}
),

calls_by_usage as (
    select
        {{ day_columns | join(', ') }},
        {% for column in compared -%}
        key_{{ column }} as {{ column }},
        {% endfor -%}
        {{ summed_calls() }}
    from covered_calls
    group by
        {{ listed(day_columns) }},
        {{ listed(compared, 'key_') }}
),

-- What calls and usage report count of the same; the report's further units cost what the day's calls paid for one.
units_compared as (
    select
        {% for column in keys -%}
        coalesce(usage_keys.{{ column }}, calls.{{ column }}) as {{ column }},
        {% endfor -%}
        calls.provider_name is not null as is_compared,
        usage_keys.provider_name is not null as is_reported,
        coalesce(calls.called_units, 0) as compared_units,
        coalesce(usage_keys.reported_units, 0) as reported_units,
        coalesce(usage_keys.workbench_units, 0) as workbench_units,
        coalesce(calls.provisioned_units, 0) as provisioned_units,
        coalesce(calls.unpriced_units, 0) as unpriced_units,
        {{ price_of_day('calls.') }} as usd_per_unit,
        calls.effective_cost_usd as compared_cost_usd,
        coalesce(calls.free_usd, 0) as free_usd,
        coalesce(calls.list_cost_usd - calls.effective_cost_usd - calls.free_usd, 0) as discount_usd
    from usage_keys
    full outer join calls_by_usage as calls on {{ same_values('usage_keys', 'calls', keys) }}
),

-- What a cost report is compared with: the usage report where there is one, else the calls.
used_keys as (
    select
        {{ keys | join(', ') }},
        'usage_report_to_cost_report' as layer_type,
        reported_units - provisioned_units as used_units,
        workbench_units,
        unpriced_units,
        usd_per_unit,
        case
            when reported_units = compared_units then compared_cost_usd
            else
                coalesce(compared_cost_usd, 0)
                + cast((reported_units - compared_units) * usd_per_unit as decimal(38, 15))
        end as used_cost_usd,
        free_usd,
        discount_usd
    from units_compared
    union all
    select
        {{ keys | join(', ') }},
        'calls_to_cost_report' as layer_type,
        called_units - provisioned_units as used_units,
        0 as workbench_units,
        unpriced_units,
        {{ price_of_day() }} as usd_per_unit,
        effective_cost_usd as used_cost_usd,
        coalesce(free_usd, 0) as free_usd,
        coalesce(list_cost_usd - effective_cost_usd - free_usd, 0) as discount_usd
    from ledger_keys
    where not has_usage_report
),

used_of_cost_days as (
    select used_keys.*
    from used_keys
    inner join reported_days
        on
            {{ same_values('used_keys', 'reported_days', ['provider_name', 'billing_account_id']) }}
            and used_keys.event_date between reported_days.first_cost_date and reported_days.last_cost_date
    where used_keys.used_units <> 0
),

cost_keys as (
    select
        provider_name,
        billing_account_id,
        event_date,
        coalesce(model_id, model_name) as model_id,
        service_tier,
        unit_kind_type,
        count(*) as line_count,
        sum(billed_cost_usd) as reported_cost_usd,
        sum({{ rounding_usd() }}) as rounding_usd,
        case
            when unit_kind_type is not null and count(consumed_quantity_units) = count(*)
                then sum(consumed_quantity_units)
        end as costed_units
    from cost_lines
    where driver_type = 'calls'
    group by
        provider_name, billing_account_id, event_date, coalesce(model_id, model_name), service_tier, unit_kind_type
),

covered_use as (
    {{ covered_by('used_of_cost_days', 'cost_keys', day_columns) }}
),

use_by_cost as (
    select
        {{ day_columns | join(', ') }},
        {% for column in compared -%}
        key_{{ column }} as {{ column }},
        {% endfor -%}
        sum(used_units) as used_units,
        sum(workbench_units) as workbench_units,
        sum(unpriced_units) as unpriced_units,
        case when min(usd_per_unit) = max(usd_per_unit) then min(usd_per_unit) end as usd_per_unit,
        sum(used_cost_usd) as used_cost_usd,
        sum(case when used_cost_usd is null then used_units else 0 end) as uncosted_units,
        sum(free_usd) as free_usd,
        sum(discount_usd) as discount_usd
    from covered_use
    group by
        {{ listed(day_columns) }},
        {{ listed(compared, 'key_') }}
),

-- What no call drives, and nothing is compared with; bought capacity is charged by the period.
other_keys as (
    select
        provider_name,
        billing_account_id,
        event_date,
        coalesce(component_name, driver_type) as component_name,
        {{ cause_of_charge('driver_type', 'component_name') }} as charge_cause_type,
        count(*) as line_count,
        sum(billed_cost_usd) as reported_cost_usd
    from cost_lines
    where driver_type not in ('calls', 'commitment')
    group by
        provider_name, billing_account_id, event_date, coalesce(component_name, driver_type),
        {{ cause_of_charge('driver_type', 'component_name') }}
),

cost_tiers as (
    select distinct
        {{ day_columns | join(', ') }},
        service_tier
    from cost_keys
    where service_tier is not null
),

-- Reports that tell tiers apart on a day: what they lack of a tier, they leave out.
tiered_costs as (
    select distinct {{ day_columns | join(', ') }}
    from cost_tiers
),

tiered_usage as (
    select distinct {{ day_columns | join(', ') }}
    from usage_keys
    where service_tier is not null
),

usage_tiers as (
    select distinct
        {{ day_columns | join(', ') }},
        service_tier
    from usage_keys
    where service_tier is not null
),

costs_compared as (
    select
        {% for column in keys -%}
        coalesce(cost_keys.{{ column }}, used.{{ column }}) as {{ column }},
        {% endfor -%}
        used.provider_name is not null as is_compared,
        cost_keys.provider_name is not null as is_reported,
        coalesce(used.used_units, 0) as compared_units,
        cost_keys.costed_units as reported_units,
        coalesce(cost_keys.line_count, 0) as line_count,
        coalesce(used.workbench_units, 0) as workbench_units,
        coalesce(used.unpriced_units, 0) as unpriced_units,
        coalesce(used.uncosted_units, 0) as uncosted_units,
        used.usd_per_unit,
        used.used_cost_usd as compared_cost_usd,
        coalesce(used.free_usd, 0) as free_usd,
        coalesce(used.discount_usd, 0) as discount_usd,
        coalesce(cost_keys.reported_cost_usd, 0) as reported_cost_usd,
        coalesce(cost_keys.rounding_usd, {{ smallest_rounding_usd() }}) as rounding_usd
    from cost_keys
    full outer join use_by_cost as used on {{ same_values('cost_keys', 'used', keys) }}
),

costs as (
    select
        {{ listed(keys, 'costs_compared.') }},
        'calls' as component_name,
        cast(null as varchar) as charge_cause_type,
        costs_compared.is_compared,
        costs_compared.is_reported,
        not costs_compared.is_reported
        and coalesce(costs_compared.service_tier, 'standard') <> 'standard'
        and tiered_costs.provider_name is not null
        and cost_tiers.provider_name is null as is_tier_absent,
        {{ listed(figures, 'costs_compared.') }}
    from costs_compared
    left join tiered_costs on {{ same_values('costs_compared', 'tiered_costs', day_columns) }}
    left join cost_tiers on {{ same_values('costs_compared', 'cost_tiers', day_columns + ['service_tier']) }}
    union all
    select
        {{ day_columns | join(', ') }},
        {% for column in compared -%}
        cast(null as varchar) as {{ column }},
        {% endfor -%}
        component_name,
        charge_cause_type,
        false as is_compared,
        true as is_reported,
        false as is_tier_absent,
        line_count,
        0 as compared_units,
        null as reported_units,
        0 as workbench_units,
        0 as unpriced_units,
        0 as uncosted_units,
        null as usd_per_unit,
        null as compared_cost_usd,
        reported_cost_usd,
        0 as free_usd,
        0 as discount_usd,
        {{ smallest_rounding_usd() }} as rounding_usd
    from other_keys
),

layers as (
    select
        'calls_to_usage_report' as layer_type,
        {{ listed(keys, 'units_compared.') }},
        'calls' as component_name,
        cast(null as varchar) as charge_cause_type,
        units_compared.is_compared,
        units_compared.is_reported,
        not units_compared.is_reported
        and coalesce(units_compared.service_tier, 'standard') <> 'standard'
        and tiered_usage.provider_name is not null
        and usage_tiers.provider_name is null as is_tier_absent,
        0 as line_count,
        units_compared.compared_units,
        units_compared.reported_units,
        units_compared.workbench_units,
        units_compared.unpriced_units,
        0 as uncosted_units,
        units_compared.usd_per_unit,
        units_compared.compared_cost_usd,
        null as reported_cost_usd,
        0 as free_usd,
        0 as discount_usd,
        {{ smallest_rounding_usd() }} as rounding_usd
    from units_compared
    left join tiered_usage on {{ same_values('units_compared', 'tiered_usage', day_columns) }}
    left join usage_tiers on {{ same_values('units_compared', 'usage_tiers', day_columns + ['service_tier']) }}
    union all
    select
        case
            when costs.event_date between reported_days.first_usage_date and reported_days.last_usage_date
                then 'usage_report_to_cost_report'
            else 'calls_to_cost_report'
        end as layer_type,
        costs.*
    from costs
    inner join reported_days
        on {{ same_values('costs', 'reported_days', ['provider_name', 'billing_account_id']) }}
),

final as (
    select
        layers.layer_type,
        {{ listed(keys, 'layers.') }},
        layers.component_name,
        layers.charge_cause_type,
        layers.is_compared,
        layers.is_reported,
        layers.is_tier_absent,
        nameless_days.provider_name is not null as has_calls_of_unknown_account,
        cast(layers.line_count as bigint) as line_count,
        {%- for column in figures if column.endswith('_units') %}
        cast(layers.{{ column }} as decimal(28, 3)) as {{ column }},
        {%- endfor %}
        {%- for column in figures if column.endswith('_usd') %}
        cast(layers.{{ column }} as decimal(38, 18)) as {{ column }},
        {%- endfor %}
        cast(layers.usd_per_unit as decimal(38, 15)) as usd_per_unit
    from layers
    left join nameless_days on {{ same_values('layers', 'nameless_days', ['provider_name', 'event_date']) }}
)

select * from final
