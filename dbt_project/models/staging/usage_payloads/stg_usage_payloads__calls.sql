-- sqlfluff:render_variant_limit:1
{{ config(day_column='event_date') }}

{%- set input_kinds = ['cache_read', 'cache_write_5m', 'cache_write_1h', 'input_audio', 'input_image'] %}
{%- set output_kinds = ['reasoning', 'output_audio'] %}
{%- set input_columns, output_columns, other_counted_columns, other_columns = [], [], [], {} %}
{%- for kind in input_kinds %}{% do input_columns.append('block_' ~ kind ~ '_tokens') %}{% endfor %}
{%- for kind in output_kinds %}{% do output_columns.append('block_' ~ kind ~ '_tokens') %}{% endfor %}
{%- for kind in other_kinds_of_dialects() %}
{%- do other_columns.update({kind: kind ~ '_units'}) %}
{%- do (
    input_columns if kind in other_input_token_kinds()
    else output_columns if kind in other_output_token_kinds()
    else other_counted_columns
).append(kind ~ '_units') %}
{%- endfor %}

with

source as (
    {%- for kind in ['usage_payloads', 'litellm_spend_logs', 'langfuse_observations'] %}
    select * from {{ source('raw', 'raw_' ~ kind ~ '__calls') }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- What each dialect's counts mean is declared in `usage_dialects`.
members as (
    select
        *,
        {{- usage_members('usage_json') }}
    from source
),

counted as (
    select
        *,
        coalesce(is_success, error_type is null) as is_call_success,
        {{ usage_of_dialect('input') }} as block_input_tokens,
        {{ usage_of_dialect('output') }} as block_output_tokens,
        {{ usage_of_dialect('total') }} as block_total_tokens,
        {%- for kind in input_kinds + output_kinds %}
        {{ usage_of_dialect(kind) }} as block_{{ kind }}_tokens,
        {%- endfor %}
        {%- for kind in other_kinds_of_dialects() %}
        {{ usage_of_dialect(kind) }} as {{ kind }}_units,
        {%- endfor %}
        {{ usage_of_dialect('web_search') }} as block_web_search_count
    from members
),

wholes as (
    select
        *,
        case
            when block_input_tokens is null and not is_call_success then 0
            else block_input_tokens
        end as whole_input_tokens,
        case
            when block_output_tokens is null and (not is_call_success or operation_name = 'embeddings') then 0
            else block_output_tokens
        end as whole_output_tokens,
        {{ input_columns | join(' + ') }} as separate_input_tokens,
        {{ output_columns | join(' + ') }} as separate_output_tokens
    from counted
),

-- The block says more of the tier than the response: how fast it was served, and by which kind of traffic.
tiers as (
    select
        *,
        case
            when {{ json_text_at('usage_json', 'speed') }} = 'fast' then 'fast'
            when {{ json_text_at('usage_json', 'trafficType') }} in ('PROVISIONED_THROUGHPUT', '2') then 'provisioned'
            when {{ json_text_at('usage_json', 'trafficType') }} = 'ON_DEMAND_FLEX' then 'flex'
            when {{ json_text_at('usage_json', 'trafficType') }} = 'ON_DEMAND_PRIORITY' then 'priority'
            else coalesce(
                service_tier, {{ json_text_at('usage_json', 'service_tier') }},
                {{ json_text_at('usage_json', 'serviceTier') }}
            )
        end as reported_service_tier,
        nullif({{ json_text_at('usage_json', 'inference_geo') }}, 'not_available') as inference_geo
    from wholes
),

final as (
    select
        source_name,
        call_id,
        dialect_type,
        provider_name,
        coalesce(model_name, requested_model_name) as model_name,
        coalesce(operation_name, 'chat') as operation_name,
        deployment_id,
        spillover_from_deployment_id,
        coalesce(region_id, inference_geo) as region_id,
        {{ service_tier_of('reported_service_tier') }} as service_tier,
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
            ['block_input_tokens', 'block_output_tokens', 'block_web_search_count'] + other_counted_columns,
            'whole_input_tokens',
            input_columns,
            'whole_output_tokens',
            output_columns,
            'event_at',
            differences=[
                'block_cache_read_tokens', 'block_cache_write_5m_tokens', 'block_input_audio_tokens',
                'block_input_image_tokens', 'input_video_units',
            ],
            total='block_total_tokens',
        ) }} as reject_reason,
        input_uri,
        {{ json_object_of([
            'call_id', 'event_at', 'dialect_type', 'host_name', 'request_path', 'provider_name', 'model_name',
            'usage_json', 'usage_events_json', 'use_case_id', 'use_case_instance_id', 'attributes_json',
        ]) }} as raw_content,
        turn_index,
        coalesce(attempt_index, 0) as attempt_index,
        record_index,
        case
            when operation_name = 'embeddings' then 0
            else whole_input_tokens - separate_input_tokens
        end as input_tokens,
        block_cache_read_tokens as cache_read_tokens,
        block_cache_write_5m_tokens as cache_write_5m_tokens,
        block_cache_write_1h_tokens as cache_write_1h_tokens,
        whole_output_tokens - separate_output_tokens as output_tokens,
        block_reasoning_tokens as reasoning_tokens,
        block_input_audio_tokens as input_audio_tokens,
        block_output_audio_tokens as output_audio_tokens,
        block_input_image_tokens as input_image_tokens,
        case
            when operation_name = 'embeddings' then whole_input_tokens - separate_input_tokens
            else 0
        end as embedding_tokens,
        block_web_search_count as web_search_count,
        cast(1 as bigint) as request_count,
        {{ unit_map_of(other_columns) }} as other_units,
        whole_input_tokens as reported_input_tokens,
        whole_output_tokens as reported_output_tokens,
        {{ reported_cost_usd('usage_json') }} as reported_cost_usd,
        latency_ms,
        time_to_first_token_ms,
        is_call_success as is_success,
        coalesce(is_spillover, spillover_from_deployment_id is not null) as is_spillover,
        coalesce(is_usage_record, true) as is_usage_record,
        event_at as called_at,
        landed_at,
        event_date
    from tiers
)

select * from final
