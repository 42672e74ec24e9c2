{%- set grain = period_columns() + [
    'component_name', 'cause_type', 'driver_type', 'bom_layer_type', 'tagged_use_case_id', 'tagged_team_name',
    'commitment_id',
] -%}
with

bridges as (
    select *
    from {{ ref('int_reconciliation__bridges') }}
    where cause_type is not null
),

final as (
    select
        {{ grain | join(',\n        ') }},
        cast(sum(line_count) as bigint) as line_count,
        cast(sum(billed_cost_usd - ledger_cost_usd) as decimal(38, 18)) as charge_usd
    from bridges
    group by {{ grain | join(', ') }}
)

select * from final
