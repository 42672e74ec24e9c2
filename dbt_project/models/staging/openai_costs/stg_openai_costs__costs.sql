with

source as (
    select * from {{ source('raw', 'raw_openai_costs__costs') }}
),

-- A line item names model and meter in words, which are read where a bill's are. Tokens may be counted in thousands;
-- results of before the API had units, or of several, have none.
final as (
    select
        {{ cost_report_line('openai', {
            'service_name': 'cast(null as varchar)',
            'service_tier': 'service_tier',
            'unit_kind_type': 'cast(null as varchar)',
            'region_id': 'region_id',
            'consumed_unit': "case when quantity_unit = '1000_tokens' then 'tokens'"
                ~ " when quantity_unit is null and "
                ~ regexp_found('lower(line_name)', "', .*(input|output|cached)'") ~ " then 'tokens'"
                ~ " else quantity_unit end",
            'consumed_quantity_units':
                "cast(quantity * case when quantity_unit = '1000_tokens' then 1000 else 1 end as decimal(38, 18))",
        }) }}
    from source
)

select * from final
