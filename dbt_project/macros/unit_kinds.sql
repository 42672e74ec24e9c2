{#- The disjoint token kinds, in the order in which every wide model lists them. -#}
{% macro token_kinds() -%}
    {{ return([
        'input', 'cache_read', 'cache_write_5m', 'cache_write_1h', 'output', 'reasoning',
        'input_audio', 'output_audio', 'input_image', 'embedding',
    ]) }}
{%- endmacro %}

{#- Every priced kind: the token kinds and the counted ones. -#}
{% macro unit_kinds() -%}
    {{ return(token_kinds() + ['web_search', 'request']) }}
{%- endmacro %}

{#- The column of a usage model that counts a kind. -#}
{% macro quantity_column(unit_kind) -%}
    {{ return(unit_kind ~ ('_count' if unit_kind in ('web_search', 'request') else '_tokens')) }}
{%- endmacro %}

{#-
    The kind whose price stands in where a rate card has none of its own. Audio, images and searches have no
    stand-in: without a price of their own they are unpriced. A request is charged only where a card says so.
-#}
{% macro price_fallbacks() -%}
    {{ return({
        'cache_read': ['input'],
        'cache_write_5m': ['input'],
        'cache_write_1h': ['cache_write_5m', 'input'],
        'reasoning': ['output'],
        'embedding': ['input'],
    }) }}
{%- endmacro %}

{#- What makes a rate card: whose it is, and each kind's prices and where they come from. -#}
{% macro rate_card_columns() -%}
    {%- set columns = ['provider_name', 'rate_provider_name', 'model_id', 'service_tier'] -%}
    {%- for kind in unit_kinds() -%}
        {%- do columns.extend([
            kind ~ '_contract_id', 'list_' ~ kind ~ '_usd_per_unit', 'contracted_' ~ kind ~ '_usd_per_unit',
            'is_' ~ kind ~ '_price_fallback',
        ]) -%}
    {%- endfor -%}
    {{ return(columns) }}
{%- endmacro %}

{#- Σ quantity × unit price over all kinds; null as soon as a used kind has no price. -#}
{% macro cost_of(quantities, prices, price_prefix) -%}
    {%- for kind in unit_kinds() %}
    {%- set quantity = quantities ~ '.' ~ quantity_column(kind) %}
    {%- set price = prices ~ '.' ~ price_prefix ~ '_' ~ kind ~ '_usd_per_unit' %}
    {%- set price = 'coalesce(' ~ price ~ ', 0)' if kind == 'request' else price %}
    {{ '+ ' if not loop.first }}case when {{ quantity }} = 0 then 0 else {{ quantity }} * {{ price }} end
    {%- endfor %}
{%- endmacro %}

{#- The canonical columns of a usage staging model, in order. -#}
{% macro usage_columns() -%}
    {{ return([
        'source_name', 'call_id', 'provider_name', 'model_name', 'operation_name', 'deployment_id',
        'spillover_from_deployment_id', 'region_id', 'service_tier', 'use_case_id', 'use_case_version',
        'use_case_instance_id', 'conversation_id', 'agent_id', 'step_name', 'team_name', 'error_type', 'reject_reason', 'input_uri', 'raw_content',
        'turn_index', 'attempt_index', 'record_index',
        'input_tokens', 'cache_read_tokens', 'cache_write_5m_tokens', 'cache_write_1h_tokens', 'output_tokens',
        'reasoning_tokens', 'input_audio_tokens', 'output_audio_tokens', 'input_image_tokens', 'embedding_tokens',
        'web_search_count', 'request_count', 'reported_input_tokens', 'reported_output_tokens',
        'latency_ms', 'time_to_first_token_ms',
        'is_success', 'is_spillover', 'called_at', 'landed_at', 'event_date',
    ]) }}
{%- endmacro %}

{#- Why a usage record cannot be a call; null when it can. `counts` are the reported ones, of which none is negative. -#}
{% macro usage_reject_reason(counts, whole_input, input_parts, whole_output, output_parts, called_at) -%}
    case
        when least({% for count in counts + input_parts + output_parts %}coalesce({{ count }}, 0){{ ', ' if not loop.last }}{% endfor %}) < 0
            then 'negative_token_count'
        when {% for part in input_parts %}coalesce({{ part }}, 0){{ ' + ' if not loop.last }}{% endfor %}
            > {{ whole_input }} then 'input_parts_exceed_input'
        when {% for part in output_parts %}coalesce({{ part }}, 0){{ ' + ' if not loop.last }}{% endfor %}
            > {{ whole_output }} then 'output_parts_exceed_output'
        when {{ called_at }} > landed_at + interval '5 minutes' then 'called_in_the_future'
    end
{%- endmacro %}
