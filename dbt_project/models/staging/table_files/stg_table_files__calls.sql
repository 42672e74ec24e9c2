{{ config(day_column='event_date') }}

with

source as (
    select * from {{ source('raw', 'raw_table_files__calls') }}
),

reported as (
    select
        *,
        coalesce(is_success, error_type is null) as is_call_success,
        coalesce(input_includes_cache, true) as is_input_cache_inclusive,
        coalesce(output_includes_reasoning, true) as is_output_reasoning_inclusive,
        coalesce(cache_read_tokens, 0) + coalesce(cache_write_5m_tokens, 0)
        + coalesce(cache_write_1h_tokens, 0) as cache_tokens,
        coalesce(input_audio_tokens, 0) + coalesce(input_image_tokens, 0) as input_media_tokens
    from source
),

-- The whole input holds every input kind and the whole output every output kind, whatever the feed's own rule is.
wholes as (
    select
        *,
        case
            when input_tokens is null and not is_call_success then 0
            when is_input_cache_inclusive then input_tokens
            else input_tokens + cache_tokens
        end as whole_input_tokens,
        case
            when output_tokens is null and (not is_call_success or operation_name = 'embeddings') then 0
            when is_output_reasoning_inclusive then output_tokens
            else output_tokens + coalesce(reasoning_tokens, 0)
        end as whole_output_tokens
    from reported
),

final as (
    select
        source_name,
        call_id,
        provider_name,
        model_name,
        coalesce(operation_name, 'chat') as operation_name,
        deployment_id,
        spillover_from_deployment_id,
        region_id,
        coalesce(service_tier, 'standard') as service_tier,
        use_case_id,
        use_case_version,
        case
            when use_case_id is not null then coalesce(use_case_instance_id, conversation_id, call_id)
        end as use_case_instance_id,
        conversation_id,
        agent_id,
        step_name,
        team_name,
        environment_name,
        customer_id,
        billing_account_id,
        error_type,
        {{ usage_reject_reason(
            ['input_tokens', 'output_tokens'],
            'whole_input_tokens',
            ['cache_read_tokens', 'cache_write_5m_tokens', 'cache_write_1h_tokens', 'input_audio_tokens',
             'input_image_tokens'],
            'whole_output_tokens',
            ['reasoning_tokens', 'output_audio_tokens'],
            'event_at',
        ) }} as reject_reason,
        input_uri,
        {{ json_object_of([
            'call_id', 'event_at', 'provider_name', 'model_name', 'input_tokens', 'cache_read_tokens',
            'cache_write_5m_tokens', 'cache_write_1h_tokens', 'output_tokens', 'reasoning_tokens',
            'input_audio_tokens', 'output_audio_tokens', 'input_image_tokens', 'use_case_id',
            'use_case_instance_id', 'attributes_json',
        ]) }} as raw_content,
        turn_index,
        coalesce(attempt_index, 0) as attempt_index,
        record_index,
        case
            when operation_name = 'embeddings' then 0
            else whole_input_tokens - cache_tokens - input_media_tokens
        end as input_tokens,
        coalesce(cache_read_tokens, 0) as cache_read_tokens,
        coalesce(cache_write_5m_tokens, 0) as cache_write_5m_tokens,
        coalesce(cache_write_1h_tokens, 0) as cache_write_1h_tokens,
        whole_output_tokens - coalesce(reasoning_tokens, 0) - coalesce(output_audio_tokens, 0) as output_tokens,
        coalesce(reasoning_tokens, 0) as reasoning_tokens,
        coalesce(input_audio_tokens, 0) as input_audio_tokens,
        coalesce(output_audio_tokens, 0) as output_audio_tokens,
        coalesce(input_image_tokens, 0) as input_image_tokens,
        case
            when operation_name = 'embeddings' then whole_input_tokens - cache_tokens - input_media_tokens
            else 0
        end as embedding_tokens,
        coalesce(web_search_count, 0) as web_search_count,
        cast(1 as bigint) as request_count,
        {{ no_other_units() }} as other_units,
        whole_input_tokens as reported_input_tokens,
        whole_output_tokens as reported_output_tokens,
        cast(null as decimal(38, 15)) as reported_cost_usd,
        latency_ms,
        time_to_first_token_ms,
        is_call_success as is_success,
        coalesce(is_spillover, spillover_from_deployment_id is not null) as is_spillover,
        true as is_usage_record,
        event_at as called_at,
        landed_at,
        event_date
    from wholes
)

select * from final
