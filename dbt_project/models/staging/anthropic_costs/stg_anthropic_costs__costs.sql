with

source as (
    select * from {{ source('raw', 'raw_anthropic_costs__costs') }}
),

final as (
    select
        {{ cost_report_line('anthropic', {
            'service_name': 'cost_type',
            'service_tier': 'case when service_tier is not null then ' ~ service_tier_of('service_tier') ~ ' end',
            'unit_kind_type': "case token_type"
                ~ " when 'uncached_input_tokens' then 'input'"
                ~ " when 'output_tokens' then 'output'"
                ~ " when 'cache_read_input_tokens' then 'cache_read'"
                ~ " when 'cache_creation.ephemeral_5m_input_tokens' then 'cache_write_5m'"
                ~ " when 'cache_creation.ephemeral_1h_input_tokens' then 'cache_write_1h'"
                ~ " else case cost_type when 'web_search' then 'web_search' when 'code_execution' then 'code_session' end"
                ~ " end",
            'region_id': "nullif(region_id, 'not_available')",
            'consumed_unit': "case when cost_type = 'tokens' then 'tokens' end",
            'consumed_quantity_units': 'quantity',
        }) }}
    from source
)

select * from final
