{%- set counts = [
    'input_tokens', 'input_cached_tokens', 'input_cache_write_tokens', 'input_cache_write_12h_tokens',
    'input_audio_tokens', 'input_cached_audio_tokens', 'input_image_tokens', 'input_cached_image_tokens', 'output_tokens',
    'output_audio_tokens', 'output_image_tokens', 'images', 'characters', 'seconds', 'num_sessions', 'num_requests',
] -%}
with

source as (
    select * from {{ source('raw', 'raw_openai_usage__buckets') }}
),

-- What is not counted in a result was not used: an endpoint has the counts of its own kind only.
filled as (
    select
        {%- for count in counts %}
        coalesce({{ count }}, 0) as {{ count }}_or_0,
        {%- endfor %}
        *
    from source
),

-- Input holds what was read from caches and written to them, audio and images; these counts are of what was not cached.
parted as (
    select
        *,
        input_tokens_or_0 - input_cached_tokens_or_0 - input_cache_write_tokens_or_0 - input_audio_tokens_or_0
        - input_image_tokens_or_0 as text_tokens,
        input_cached_tokens_or_0 - input_cached_audio_tokens_or_0 - input_cached_image_tokens_or_0
            as cache_read_tokens,
        input_cache_write_tokens_or_0 - input_cache_write_12h_tokens_or_0 as cache_write_tokens,
        output_tokens_or_0 - output_audio_tokens_or_0 - output_image_tokens_or_0 as output_text_tokens
    from filled
),

final as (
    select
        source_name,
        concat(input_uri, ':', record_index) as report_line_id,
        'openai' as provider_name,
        billing_account_id,
        endpoint_type,
        model_name,
        case
            when is_batch then 'batch'
            when service_tier is not null then {{ service_tier_of('service_tier') }}
        end as service_tier,
        cast(null as varchar) as region_id,
        project_id,
        api_key_id,
        case
            when has_api_keys then api_key_id is null
        end as is_workbench,
        case
            when {{ least_count(counts) }} < 0
                then 'negative_token_count'
            when least(text_tokens, cache_read_tokens, cache_write_tokens) < 0 then 'input_parts_exceed_input'
            when output_text_tokens < 0 then 'output_parts_exceed_output'
            when usage_bytes is not null then 'not_metered_by_calls'
        end as reject_reason,
        input_uri,
        record_index,
        {{ unit_map_of({
            'input': "case when endpoint_type = 'embeddings' then 0 else text_tokens end",
            'embedding': "case when endpoint_type = 'embeddings' then text_tokens else 0 end",
            'cache_read': 'cache_read_tokens',
            'cache_write_5m': 'cache_write_tokens',
            'cache_write_12h': 'input_cache_write_12h_tokens_or_0',
            'input_audio': 'input_audio_tokens_or_0',
            'cache_read_audio': 'input_cached_audio_tokens_or_0',
            'input_image': 'input_image_tokens_or_0',
            'cache_read_image': 'input_cached_image_tokens_or_0',
            'output': 'output_text_tokens',
            'output_audio': 'output_audio_tokens_or_0',
            'output_image': 'output_image_tokens_or_0',
            'image': 'images_or_0',
            'input_character': 'characters_or_0',
            'input_second': 'seconds_or_0',
            'code_session': 'num_sessions_or_0',
            'file_search': "case when endpoint_type = 'file_search_calls' then num_requests_or_0 else 0 end",
            'web_search': "case when endpoint_type = 'web_search_calls' then num_requests_or_0 else 0 end",
        }) }} as quantities,
        input_tokens as reported_input_tokens,
        output_tokens as reported_output_tokens,
        coalesce(num_model_requests, num_requests) as request_count,
        bucket_start_at,
        bucket_end_at,
        modified_at,
        landed_at,
        event_date
    from parted
)

select * from final
