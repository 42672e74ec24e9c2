{{ config(day_column='event_date') }}

{#- OpenTelemetry's names first, current before deprecated, then OpenInference's. -#}
{%- set operation %}coalesce(
            gen_ai_operation_name,
            case openinference_span_kind
                when 'LLM' then 'chat'
                when 'EMBEDDING' then 'embeddings'
                else lower(openinference_span_kind)
            end,
            'chat'
        ){% endset -%}
{%- set model_name %}coalesce(
            gen_ai_response_model, gen_ai_request_model, llm_response_model_name, llm_model_name,
            llm_request_model_name, embedding_model_name, decision_response_model_name, decision_model_name,
            decision_request_model_name
        ){% endset -%}
{%- set input_tokens %}coalesce(
            gen_ai_usage_input_tokens, gen_ai_usage_prompt_tokens, llm_token_count_prompt_tokens,
            decision_token_count_input_tokens
        ){% endset -%}
{%- set output_tokens %}coalesce(
            gen_ai_usage_output_tokens, gen_ai_usage_completion_tokens, llm_token_count_completion_tokens,
            decision_token_count_output_tokens
        ){% endset -%}
{%- set is_inference %}{{ operation }} in (
            'chat', 'generate_content', 'text_completion', 'embeddings', 'decision'
        )
        and {{ model_name }} is not null{% endset -%}
{%- set is_embedding %}{{ operation }} = 'embeddings'{% endset -%}
{#- No step that a framework or a client of models reports: a request over HTTP, a function. -#}
{%- set is_plain -%}
gen_ai_operation_name is null and openinference_span_kind is null and parent_span_id is not null
{%- endset -%}

with

source as (
    select * from {{ source('raw', 'raw_otlp_files__spans') }}
),

reporting as (
    select
        source_name,
        event_date,
        trace_id,
        span_id,
        parent_span_id,
        {{ is_embedding }} as is_embedding
    from {{ source('raw', 'raw_otlp_files__spans') }}
    where
        parent_span_id is not null
        and {{ is_inference }}
        and ({{ input_tokens }} is not null or {{ output_tokens }} is not null)
),

-- Three joins, each with a reading of its own, and no recursion: so a filter by day reaches every scan.
plain_1 as (
    select
        source_name,
        event_date,
        trace_id,
        span_id,
        parent_span_id
    from {{ source('raw', 'raw_otlp_files__spans') }}
    where {{ is_plain }}
),

plain_2 as (
    select
        source_name,
        event_date,
        trace_id,
        span_id,
        parent_span_id
    from {{ source('raw', 'raw_otlp_files__spans') }}
    where {{ is_plain }}
),

plain_3 as (
    select
        source_name,
        event_date,
        trace_id,
        span_id,
        parent_span_id
    from {{ source('raw', 'raw_otlp_files__spans') }}
    where {{ is_plain }}
),

climbed as (
    select
        reporting.source_name,
        reporting.event_date,
        reporting.trace_id,
        reporting.span_id,
        reporting.is_embedding,
        reporting.parent_span_id as ancestor_0_id,
        plain_1.parent_span_id as ancestor_1_id,
        plain_2.parent_span_id as ancestor_2_id,
        plain_3.parent_span_id as ancestor_3_id
    from reporting
    left join plain_1
        on
            reporting.source_name = plain_1.source_name
            and reporting.event_date = plain_1.event_date
            and reporting.trace_id = plain_1.trace_id
            and reporting.parent_span_id = plain_1.span_id
    left join plain_2
        on
            reporting.source_name = plain_2.source_name
            and reporting.event_date = plain_2.event_date
            and reporting.trace_id = plain_2.trace_id
            and plain_1.parent_span_id = plain_2.span_id
    left join plain_3
        on
            reporting.source_name = plain_3.source_name
            and reporting.event_date = plain_3.event_date
            and reporting.trace_id = plain_3.trace_id
            and plain_2.parent_span_id = plain_3.span_id
),

steps as (
    select 0 as plain_span_count
    union all
    select 1 as plain_span_count
    union all
    select 2 as plain_span_count
    union all
    select 3 as plain_span_count
),

ancestors as (
    select
        climbed.source_name,
        climbed.event_date,
        climbed.trace_id,
        climbed.span_id as inner_span_id,
        climbed.is_embedding,
        case steps.plain_span_count
            when 0 then climbed.ancestor_0_id
            when 1 then climbed.ancestor_1_id
            when 2 then climbed.ancestor_2_id
            else climbed.ancestor_3_id
        end as span_id
    from climbed
    cross join steps
),

-- A framework and the client that it calls may both report one call: the inner span is the call. A call of embeddings
-- below a chat is another call. Only spans that began on the same UTC day are compared, so that a day can be built
-- without the next one.
repeated as (
    select distinct
        source_name,
        event_date,
        trace_id,
        is_embedding,
        span_id
    from ancestors
    where span_id <> inner_span_id
),

renamed as (
    select
        *,
        {{ operation }} as operation_name,
        coalesce(
            gen_ai_provider_name, gen_ai_system, llm_provider, llm_system, decision_provider, decision_system
        ) as provider_name,
        {{ model_name }} as model_name,
        case when openinference_span_kind is not null then session_id end as openinference_session_id,
        {{ input_tokens }} as span_input_tokens,
        {{ output_tokens }} as span_output_tokens,
        case
            when coalesce(gen_ai_usage_input_tokens, gen_ai_usage_prompt_tokens) is null
                then llm_token_count_total_tokens
        end as span_total_tokens,
        coalesce(
            gen_ai_usage_cache_read_input_tokens, gen_ai_usage_cache_read_input_tokens_deprecated,
            gen_ai_usage_cache_read_tokens, llm_token_count_prompt_details_cache_read_tokens,
            llm_token_count_prompt_details_cache_input_tokens
        ) as span_cache_read_tokens,
        coalesce(
            gen_ai_usage_cache_creation_input_tokens, gen_ai_usage_cache_creation_input_tokens_deprecated,
            gen_ai_usage_cache_write_tokens, llm_token_count_prompt_details_cache_write_tokens
        ) as span_cache_write_tokens,
        coalesce(
            tokenledger_spillover_from_deployment_id, http_response_header_x_ms_spillover_from_deployment
        ) as spillover_from_deployment_id,
        coalesce(
            gen_ai_usage_reasoning_output_tokens, llm_token_count_completion_details_reasoning_tokens
        ) as span_reasoning_tokens,
        coalesce(
            gen_ai_usage_audio_input_tokens, llm_token_count_prompt_details_audio_tokens
        ) as span_input_audio_tokens,
        coalesce(
            gen_ai_usage_audio_output_tokens, llm_token_count_completion_details_audio_tokens
        ) as span_output_audio_tokens,
        gen_ai_usage_image_input_tokens as span_input_image_tokens,
        gen_ai_usage_video_input_tokens as span_input_video_tokens,
        coalesce(status_code, 0) <> 2 and error_type is null as is_call_success,
        -- Agents and chains repeat the usage of the calls below them.
        {{ is_inference }} as is_inference
    from source
),

judged as (
    select
        renamed.*,
        renamed.is_inference and repeated.span_id is null as is_usage_record
    from renamed
    left join repeated
        on
            renamed.source_name = repeated.source_name
            and renamed.event_date = repeated.event_date
            and renamed.trace_id = repeated.trace_id
            and renamed.span_id = repeated.span_id
            and (renamed.operation_name = 'embeddings') = repeated.is_embedding
),

wholes as (
    select
        *,
        case
            when span_input_tokens is null and not is_call_success then 0
            else span_input_tokens
        end as whole_input_tokens,
        case
            when span_output_tokens is null and (not is_call_success or operation_name = 'embeddings') then 0
            else span_output_tokens
        end as whole_output_tokens,
        coalesce(span_cache_read_tokens, 0) + coalesce(span_cache_write_tokens, 0)
        + coalesce(span_input_audio_tokens, 0) + coalesce(span_input_image_tokens, 0)
        + coalesce(span_input_video_tokens, 0) as separate_input_tokens
    from judged
),

final as (
    select
        source_name,
        concat(trace_id, ':', span_id) as call_id,
        provider_name,
        model_name,
        operation_name,
        tokenledger_deployment_id as deployment_id,
        spillover_from_deployment_id,
        tokenledger_region_id as region_id,
        {{ service_tier_of('service_tier') }} as service_tier,
        coalesce(tokenledger_use_case_id, gen_ai_workflow_name) as use_case_id,
        tokenledger_use_case_version as use_case_version,
        case
            when coalesce(tokenledger_use_case_id, gen_ai_workflow_name) is not null
                then coalesce(
                    tokenledger_use_case_instance_id, gen_ai_conversation_id, openinference_session_id, trace_id
                )
        end as use_case_instance_id,
        coalesce(gen_ai_conversation_id, openinference_session_id) as conversation_id,
        coalesce(gen_ai_agent_id, gen_ai_agent_name, agent_name) as agent_id,
        tokenledger_step_name as step_name,
        tokenledger_team_name as team_name,
        coalesce(deployment_environment_name, deployment_environment) as environment_name,
        tokenledger_customer_id as customer_id,
        tokenledger_billing_account_id as billing_account_id,
        error_type,
        {{ usage_reject_reason(
            ['span_input_tokens', 'span_output_tokens'],
            'whole_input_tokens',
            ['span_cache_read_tokens', 'span_cache_write_tokens', 'span_input_audio_tokens',
             'span_input_image_tokens', 'span_input_video_tokens'],
            'whole_output_tokens',
            ['span_reasoning_tokens', 'span_output_audio_tokens'],
            'start_at',
            total='span_total_tokens',
        ) }} as reject_reason,
        input_uri,
        {{ json_object_of([
            'trace_id', 'span_id', 'start_at', 'provider_name', 'model_name', 'span_input_tokens',
            'span_cache_read_tokens', 'span_cache_write_tokens', 'span_output_tokens', 'span_reasoning_tokens',
            'tokenledger_use_case_id', 'tokenledger_use_case_instance_id', 'attributes_json',
        ]) }} as raw_content,
        tokenledger_turn_index as turn_index,
        coalesce(tokenledger_attempt_index, 0) as attempt_index,
        record_index,
        case
            when operation_name = 'embeddings' then 0
            else whole_input_tokens - separate_input_tokens
        end as input_tokens,
        coalesce(span_cache_read_tokens, 0) as cache_read_tokens,
        coalesce(span_cache_write_tokens, 0) as cache_write_5m_tokens,
        cast(0 as bigint) as cache_write_1h_tokens,
        whole_output_tokens - coalesce(span_reasoning_tokens, 0)
        - coalesce(span_output_audio_tokens, 0) as output_tokens,
        coalesce(span_reasoning_tokens, 0) as reasoning_tokens,
        coalesce(span_input_audio_tokens, 0) as input_audio_tokens,
        coalesce(span_output_audio_tokens, 0) as output_audio_tokens,
        coalesce(span_input_image_tokens, 0) as input_image_tokens,
        case
            when operation_name = 'embeddings' then whole_input_tokens - separate_input_tokens
            else 0
        end as embedding_tokens,
        cast(0 as bigint) as web_search_count,
        cast(1 as bigint) as request_count,
        {{ unit_map_of({'input_video': 'coalesce(span_input_video_tokens, 0)'}) }} as other_units,
        whole_input_tokens as reported_input_tokens,
        whole_output_tokens as reported_output_tokens,
        cast(null as decimal(38, 15)) as reported_cost_usd,
        cast({{ microseconds_between('start_at', 'end_at') }} as double) / 1000 as latency_ms,
        gen_ai_response_time_to_first_chunk_s * 1000 as time_to_first_token_ms,
        is_call_success as is_success,
        coalesce(tokenledger_is_spillover, spillover_from_deployment_id is not null) as is_spillover,
        is_usage_record,
        start_at as called_at,
        landed_at,
        event_date
    from wholes
)

select * from final
