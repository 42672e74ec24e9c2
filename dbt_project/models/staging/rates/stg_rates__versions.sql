with

{% for model in var('rate_models') -%}
{%- set history = model | replace('stg_', 'raw_') ~ '_history' %}
{{ history }} as (
    select
        {{ catalogue_rate_columns() }},
        coalesce(valid_from, {{ beginning_of_time() }}) as valid_from_at,
        coalesce(valid_to, {{ end_of_time() }}) as valid_to_at,
        landed_at as known_from_at,
        coalesce(superseded_at, {{ end_of_time() }}) as known_to_at
    from {{ source('raw', history) }}
),
{% endfor %}
stated as (
    select
        source_name,
        provider_name,
        model_pattern as model_id,
        coalesce(service_tier, 'standard') as service_tier,
        region_id,
        unit_kind,
        cast(null as varchar) as price_key,
        pricing_currency,
        cast(null as varchar) as pricing_unit,
        evidence,
        unit_price,
        coalesce(context_over_tokens, -1) as context_over_tokens,
        context_up_to_tokens,
        coalesce(week_minute_from, 0) as week_minute_from,
        coalesce(week_minute_to, 10080) as week_minute_to,
        false as is_threshold_inclusive,
        cast(valid_from as timestamp with time zone) as valid_from_at,
        coalesce(cast(valid_to as timestamp with time zone), {{ end_of_time() }}) as valid_to_at,
        landed_at as known_from_at,
        coalesce(superseded_at, {{ end_of_time() }}) as known_to_at
    from {{ source('raw', 'raw_contract_files__terms_history') }}
    where
        is_list
        and term_type = 'unit_price'
),

final as (
    {% for model in var('rate_models') -%}
    select * from {{ model | replace('stg_', 'raw_') }}_history
    union all
    {% endfor -%}
    select * from stated
)

select * from final
