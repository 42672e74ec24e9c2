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

{#-
    The kinds that have no column of their own, most of them rare: they share the map `other_units`. `seed_unit_kinds`
    describes these and the others.
-#}
{% macro other_input_token_kinds() -%}
    {{ return(['cache_write_12h', 'cache_read_audio', 'cache_read_image', 'input_video']) }}
{%- endmacro %}

{% macro other_output_token_kinds() -%}
    {{ return(['output_image', 'output_video']) }}
{%- endmacro %}

{% macro other_counted_kinds() -%}
    {{ return([
        'image', 'page', 'input_character', 'output_character', 'input_second', 'output_second', 'token_hour',
        'maps_search', 'file_search', 'rerank_search', 'code_session',
    ]) }}
{%- endmacro %}

{% macro other_unit_kinds() -%}
    {{ return(other_input_token_kinds() + other_output_token_kinds() + other_counted_kinds()) }}
{%- endmacro %}

{#- The map of a call that used none of them. -#}
{% macro no_other_units() -%}
    cast(null as {{ unit_map_type() }})
{%- endmacro %}

{#- Units of one kind in the map; 0 when there are none. -#}
{% macro other_units_of(other_units, unit_kind) -%}
    coalesce({{ other_units }}['{{ unit_kind }}'], 0)
{%- endmacro %}

{#- Σ of some kinds in the map. -#}
{% macro other_units_sum(other_units, unit_kinds) -%}
    ({% for kind in unit_kinds %}{{ other_units_of(other_units, kind) }}{{ ' + ' if not loop.last }}{% endfor %})
{%- endmacro %}

{#- The column of a usage model that counts a kind. -#}
{% macro quantity_column(unit_kind) -%}
    {{ return(unit_kind ~ ('_count' if unit_kind in ('web_search', 'request') else '_tokens')) }}
{%- endmacro %}

{#- Is the row's unit kind one that has no column of its own? -#}
{% macro is_other_kind(column='unit_kind') -%}
    {{ column }} not in ('{{ unit_kinds() | join("', '") }}')
{%- endmacro %}

{#-
    The kinds whose prices stand in, nearest first, where a list has none of its own. Images and video that a model
    reads are tokens of its input. Audio, what a model draws or speaks, and searches have no stand-in: without a price
    of their own they are unpriced. A request is charged only where a card says so.
-#}
{% macro price_fallbacks() -%}
    {{ return({
        'cache_read': ['input'],
        'cache_write_5m': ['input'],
        'cache_write_1h': ['cache_write_5m', 'input'],
        'cache_write_12h': ['cache_write_5m', 'input'],
        'reasoning': ['output'],
        'input_image': ['input'],
        'input_video': ['input'],
        'cache_read_image': ['cache_read', 'input_image', 'input'],
        'embedding': ['input'],
    }) }}
{%- endmacro %}

{#- What makes a rate card: each kind's prices and what they rest on. -#}
{% macro price_content_columns() -%}
    {{ return([
        'unit_kind', 'list_usd_per_unit', 'contracted_usd_per_unit', 'rate_id', 'contract_id', 'spend_contract_id',
        'term_context_over_tokens', 'term_week_minute_from',
    ]) }}
{%- endmacro %}

{#- What two versions of one rate have in common; each has a price and an instant from which it holds. -#}
{% macro rate_key_columns() -%}
    {{ return([
        'source_name', 'provider_name', 'model_id', 'service_tier', 'region_id', 'unit_kind', 'pricing_currency',
        'context_over_tokens', 'week_minute_from', 'week_minute_to',
    ]) }}
{%- endmacro %}

{#- Place of a rate source in the declared precedence, the first being 1; undeclared sources come last. -#}
{% macro precedence_of(source_name) -%}
    case
        {%- for name in var('rate_precedence') %}
        when {{ source_name }} = '{{ name }}' then {{ loop.index }}
        {%- endfor %}
        when {{ source_name }} is not null then 9999
    end
{%- endmacro %}

{#- Do two relations speak of the same priced group? -#}
{% macro same_group(one, other) -%}
    {{ one }}.reported_provider_name = {{ other }}.reported_provider_name
            and {{ one }}.reported_model_name = {{ other }}.reported_model_name
            and {{ one }}.service_tier = {{ other }}.service_tier
            and {{ one }}.region_key = {{ other }}.region_key
{%- endmacro %}

{#- Does what has a validity hold when a segment of time begins? -#}
{% macro holds_at(validity, segment) -%}
    {{ segment }}.valid_from_at >= {{ validity }}.valid_from_at
            and {{ segment }}.valid_from_at < {{ validity }}.valid_to_at
{%- endmacro %}

{#- Does a price hold in a cell: a segment of time, a band of inputs and a window of the week? -#}
{% macro holds_in_cell(price, cell) -%}
    {{ holds_at(price, cell) }}
            and {{ cell }}.context_over_tokens >= {{ price }}.context_over_tokens
            and (
                {{ price }}.context_up_to_tokens is null
                or {{ cell }}.context_over_tokens < {{ price }}.context_up_to_tokens
            )
            and {{ cell }}.week_minute_from >= {{ price }}.week_minute_from
            and {{ cell }}.week_minute_from < {{ price }}.week_minute_to
{%- endmacro %}

{#- Does a rate's region, null being everywhere, cover a call's? `eu` covers `eu-west-1`. -#}
{% macro region_covers(rate_region, region_key) -%}
    (
        {{ rate_region }} is null
        or {{ region_key }} = {{ rate_region }}
        or {{ region_key }} like concat({{ rate_region }}, '-%')
    )
{%- endmacro %}

{#- The kinds of which almost every call uses some. -#}
{% macro usual_kinds() -%}
    {{ return(['input', 'cache_read', 'output', 'reasoning', 'request']) }}
{%- endmacro %}

{#- The kinds with a column of their own that few calls use. -#}
{% macro rare_kinds() -%}
    {{ return(unit_kinds() | reject('in', usual_kinds()) | list) }}
{%- endmacro %}

{#- Does a call use kinds that few calls use, or is that unknown? -#}
{% macro uses_rare_kinds() -%}
    other_units is not null
        or coalesce({% for kind in rare_kinds() %}{{ quantity_column(kind) }}{{ ' + ' if not loop.last }}{% endfor %}, 1) <> 0
{%- endmacro %}

{#-
    Quantity × unit price of one kind; null when it is used and has no price. The product comes first, because nearly
    every price is known, and only where it is not is the quantity looked at.
-#}
{% macro cost_of_kind(kind, quantities, prices, price_prefix) -%}
    {%- set quantity = quantities ~ '.' ~ quantity_column(kind) %}
    {%- set product = quantity ~ ' * ' ~ prices ~ '.' ~ price_prefix ~ '_' ~ kind ~ '_usd_per_unit' -%}
    coalesce({{ product }}, {{ '0' if kind == 'request' else 'case when ' ~ quantity ~ ' = 0 then 0 end' }})
{%- endmacro %}

{#-
    Σ quantity × unit price over all kinds of a call of the ledger, or of what is free of it; null as soon as a used kind
    has no price. The prices are those of `rate_cards`, and of `rare_prices` for `calls` with `has_rare_kinds`.
-#}
{% macro cost_of(quantities, price_prefix) -%}
    {%- for kind in usual_kinds() %}
    {{ '+ ' if not loop.first }}{{ cost_of_kind(kind, quantities, 'rate_cards', price_prefix) }}
    {%- endfor %}
    + case
        when not calls.has_rare_kinds then 0
        else
            {% for kind in rare_kinds() -%}
            {{ '+ ' if not loop.first }}{{ cost_of_kind(kind, quantities, 'rare_prices', price_prefix) }}
            {% endfor -%}
            + case
                when {{ quantities }}.other_units is null then 0
                else {{ sum_of_products(quantities ~ '.other_units', 'rare_prices.' ~ price_prefix ~ '_other_usd_per_unit') }}
            end
    end
{%- endmacro %}

{#- The canonical columns of a usage staging model, in order. -#}
{% macro usage_columns() -%}
    {{ return([
        'source_name', 'call_id', 'provider_name', 'model_name', 'operation_name', 'deployment_id',
        'spillover_from_deployment_id', 'region_id', 'service_tier', 'use_case_id', 'use_case_version',
        'use_case_instance_id', 'conversation_id', 'agent_id', 'step_name', 'team_name', 'environment_name',
        'customer_id', 'billing_account_id', 'error_type', 'reject_reason', 'input_uri', 'raw_content',
        'turn_index', 'attempt_index', 'record_index',
        'input_tokens', 'cache_read_tokens', 'cache_write_5m_tokens', 'cache_write_1h_tokens', 'output_tokens',
        'reasoning_tokens', 'input_audio_tokens', 'output_audio_tokens', 'input_image_tokens', 'embedding_tokens',
        'web_search_count', 'request_count', 'other_units', 'reported_input_tokens', 'reported_output_tokens',
        'reported_cost_usd', 'latency_ms', 'time_to_first_token_ms',
        'is_success', 'is_spillover', 'called_at', 'landed_at', 'event_date',
    ]) }}
{%- endmacro %}

{#- A service tier in one spelling: what providers call their ordinary tier is `standard`. -#}
{% macro service_tier_of(reported) -%}
    case
        when lower({{ reported }}) not in ('default', 'auto', 'on_demand', 'standard_only') then lower({{ reported }})
        else 'standard'
    end
{%- endmacro %}

{#-
    Why a usage record cannot be a call; null when it can. `counts` are the reported ones, of which none is negative;
    `differences` are those input parts that are one reported count less another; `total` is the source's own sum of both wholes.
-#}
{% macro usage_reject_reason(
    counts, whole_input, input_parts, whole_output, output_parts, called_at, differences=[], total=none
) -%}
    case
        when least({% for count in counts + (input_parts | reject('in', differences) | list) + output_parts %}coalesce({{ count }}, 0){{ ', ' if not loop.last }}{% endfor %}) < 0
            then 'negative_token_count'
        when {% for part in input_parts %}coalesce({{ part }}, 0){{ ' + ' if not loop.last }}{% endfor %}
            > {{ whole_input }}
            {%- for part in differences %} or {{ part }} < 0{% endfor %} then 'input_parts_exceed_input'
        when {% for part in output_parts %}coalesce({{ part }}, 0){{ ' + ' if not loop.last }}{% endfor %}
            > {{ whole_output }} then 'output_parts_exceed_output'
        {%- if total %}
        when {{ total }} <> {{ whole_input }} + {{ whole_output }} then 'wholes_do_not_sum_to_total'
        {%- endif %}
        when {{ called_at }} > landed_at + interval '5 minutes' then 'called_in_the_future'
    end
{%- endmacro %}

{#- What makes a row of the daily charges. A rate card and a kind have one unit price. -#}
{% macro daily_charge_columns() -%}
    {{ return([
        'event_date', 'source_name', 'provider_name', 'billing_account_id', 'model_id', 'model_name', 'service_tier',
        'region_id', 'deployment_id', 'is_spillover', 'use_case_id', 'team_name', 'environment_name', 'customer_id',
        'rate_card_key', 'pricing_status_type', 'is_list_priced', 'unit_kind_type',
    ]) }}
{%- endmacro %}
