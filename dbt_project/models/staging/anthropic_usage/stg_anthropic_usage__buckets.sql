{%- set counts = [
    'uncached_input_tokens', 'cache_read_input_tokens', 'ephemeral_5m_input_tokens', 'ephemeral_1h_input_tokens',
    'output_tokens', 'web_search_requests',
] -%}
with

source as (
    select * from {{ source('raw', 'raw_anthropic_usage__buckets') }}
),

final as (
    select
        source_name,
        concat(input_uri, ':', record_index) as report_line_id,
        'anthropic' as provider_name,
        billing_account_id,
        'messages' as endpoint_type,
        model_name,
        case
            when speed = 'fast' then 'fast'
            when service_tier is not null then {{ service_tier_of('service_tier') }}
        end as service_tier,
        nullif(region_id, 'not_available') as region_id,
        project_id,
        api_key_id,
        case
            when has_api_keys then api_key_id is null
        end as is_workbench,
        case
            when {{ least_count(counts) }} < 0
                then 'negative_token_count'
        end as reject_reason,
        input_uri,
        record_index,
        {{ unit_map_of({
            'input': 'coalesce(uncached_input_tokens, 0)',
            'cache_read': 'coalesce(cache_read_input_tokens, 0)',
            'cache_write_5m': 'coalesce(ephemeral_5m_input_tokens, 0)',
            'cache_write_1h': 'coalesce(ephemeral_1h_input_tokens, 0)',
            'output': 'coalesce(output_tokens, 0)',
            'web_search': 'coalesce(web_search_requests, 0)',
        }) }} as quantities,
        coalesce(uncached_input_tokens, 0) + coalesce(cache_read_input_tokens, 0)
        + coalesce(ephemeral_5m_input_tokens, 0) + coalesce(ephemeral_1h_input_tokens, 0) as reported_input_tokens,
        output_tokens as reported_output_tokens,
        cast(null as bigint) as request_count,
        bucket_start_at,
        bucket_end_at,
        modified_at,
        landed_at,
        event_date
    from source
)

select * from final
