{%- set period = period_columns() -%}
{%- set keys = compared_columns() + ['commitment_id', 'tagged_use_case_id', 'tagged_team_name'] -%}
{%- set no_text = 'cast(null as varchar)' -%}
{%- set no_usd = 'cast(null as decimal(38, 18))' -%}
with

steps as (
    select
        'calls_to_bill' as layer_type,
        {{ period | join(', ') }},
        component_name,
        driver_type,
        bom_layer_type,
        {{ keys | join(', ') }},
        cause_type,
        line_count,
        quantity_units,
        usd_per_unit,
        ledger_cost_usd as compared_cost_usd,
        billed_cost_usd,
        evidence
    from {{ ref('int_reconciliation__bridges') }}
    union all
    select
        layer_type,
        {{ period | join(', ') }},
        'calls' as component_name,
        'calls' as driver_type,
        'model_calls' as bom_layer_type,
        {{ compared_columns() | join(', ') }},
        {{ no_text }} as commitment_id,
        {{ no_text }} as tagged_use_case_id,
        {{ no_text }} as tagged_team_name,
        cause_type,
        cast(0 as bigint) as line_count,
        quantity_units,
        cast(null as decimal(38, 15)) as usd_per_unit,
        {{ no_usd }} as compared_cost_usd,
        {{ no_usd }} as billed_cost_usd,
        {{ no_text }} as evidence
    from {{ ref('int_reconciliation__units_compared') }}
    union all
    select
        'cost_report_to_invoice' as layer_type,
        {{ period | join(', ') }},
        driver_type as component_name,
        driver_type,
        {{ no_text }} as bom_layer_type,
        {% for key in keys -%}
        {{ no_text }} as {{ key }},
        {% endfor -%}
        cause_type,
        line_count,
        cast(null as decimal(28, 3)) as quantity_units,
        cast(null as decimal(38, 15)) as usd_per_unit,
        report_cost_usd as compared_cost_usd,
        billed_cost_usd,
        {{ no_text }} as evidence
    from {{ ref('int_reconciliation__documents_compared') }}
),

final as (
    select
        layer_type,
        provider_name,
        billing_account_id,
        component_name,
        driver_type,
        bom_layer_type,
        {{ keys | join(',\n        ') }},
        case
            when cause_type is null then 'matched'
            when cause_type = 'unexplained' then 'unexplained'
            else 'explained'
        end as status_type,
        cause_type,
        cast(line_count as bigint) as line_count,
        cast(quantity_units as decimal(28, 3)) as quantity_units,
        cast(usd_per_unit as decimal(38, 15)) as usd_per_unit,
        compared_cost_usd,
        billed_cost_usd,
        cast(billed_cost_usd - compared_cost_usd as decimal(38, 18)) as difference_usd,
        evidence,
        billing_period_start_date
    from steps
)

select * from final
