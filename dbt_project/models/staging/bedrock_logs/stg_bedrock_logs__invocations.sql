{{ config(day_column='event_date') }}

with

source as (
    select * from {{ source('raw', 'raw_bedrock_logs__invocations') }}
),

-- A model is its id, the profile or the foundation model that an ARN ends in, or, where an ARN ends in a key of the
-- account's own, what the response says. Provisioned throughput is called by the ARN of what was bought.
named as (
    select
        *,
        error_code is null as is_call_success,
        case
            when lower(concat_ws(' ', model_id, response_model_name)) like '%embed%' then 'embeddings'
            when lower(model_id) like '%rerank%' then 'rerank'
            else 'chat'
        end as operation_name,
        case
            when model_id like '%:inference-profile/%' or model_id like '%:foundation-model/%'
                then regexp_replace(model_id, '^.*/', '')
            when model_id like 'arn:%' then coalesce(response_model_name, model_id)
            else model_id
        end as model_name,
        case when model_id like '%:provisioned-model/%' then model_id end as deployment_id
    from source
),

-- The cache lies outside the log's input count.
wholes as (
    select
        *,
        case
            when input_tokens is null and not is_call_success then 0
            else
                input_tokens + coalesce(cache_read_input_tokens, 0) + coalesce(cache_write_input_tokens, 0)
        end as whole_input_tokens,
        case
            when output_tokens is null and (not is_call_success or operation_name <> 'chat') then 0
            else output_tokens
        end as whole_output_tokens,
        coalesce(cache_read_input_tokens, 0) as read_tokens,
        coalesce(cache_write_input_tokens, 0) - coalesce(cache_write_1h_input_tokens, 0) as written_5m_tokens,
        coalesce(cache_write_1h_input_tokens, 0) as written_1h_tokens,
        coalesce(reasoning_output_tokens, 0) as reasoned_tokens
    from named
),

final as (
    select
        source_name,
        request_id as call_id,
        'aws.bedrock' as provider_name,
        model_name,
        operation_name,
        deployment_id,
        cast(null as varchar) as spillover_from_deployment_id,
        region_id,
        case
            when deployment_id is not null then 'provisioned'
            else {{ service_tier_of('service_tier') }}
        end as service_tier,
        use_case_id,
        use_case_version,
        case
            when use_case_id is not null then coalesce(use_case_instance_id, conversation_id, request_id)
        end as use_case_instance_id,
        conversation_id,
        agent_id,
        step_name,
        team_name,
        environment_name,
        customer_id,
        billing_account_id,
        error_code as error_type,
        {{ usage_reject_reason(
            ['input_tokens', 'output_tokens', 'web_search_count'],
            'whole_input_tokens',
            ['read_tokens', 'written_5m_tokens', 'written_1h_tokens'],
            'whole_output_tokens',
            ['reasoned_tokens'],
            'event_at',
            differences=['written_5m_tokens'],
        ) }} as reject_reason,
        input_uri,
        {{ json_object_of([
            'request_id', 'event_at', 'account_id', 'region_id', 'model_id', 'operation_type', 'input_tokens',
            'cache_read_input_tokens', 'cache_write_input_tokens', 'cache_write_1h_input_tokens', 'output_tokens',
            'reasoning_output_tokens', 'request_metadata_json', 'attributes_json',
        ]) }} as raw_content,
        turn_index,
        coalesce(attempt_index, 0) as attempt_index,
        record_index,
        case
            when operation_name = 'embeddings' then 0
            else whole_input_tokens - read_tokens - written_5m_tokens - written_1h_tokens
        end as input_tokens,
        read_tokens as cache_read_tokens,
        written_5m_tokens as cache_write_5m_tokens,
        written_1h_tokens as cache_write_1h_tokens,
        whole_output_tokens - reasoned_tokens as output_tokens,
        reasoned_tokens as reasoning_tokens,
        cast(0 as bigint) as input_audio_tokens,
        cast(0 as bigint) as output_audio_tokens,
        cast(0 as bigint) as input_image_tokens,
        case
            when operation_name = 'embeddings'
                then whole_input_tokens - read_tokens - written_5m_tokens - written_1h_tokens
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
        false as is_spillover,
        true as is_usage_record,
        event_at as called_at,
        landed_at,
        event_date
    from wholes
)

select * from final
