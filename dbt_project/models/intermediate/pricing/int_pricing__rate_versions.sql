{%- set content_columns = [
    'rate_key', 'unit_price', 'context_up_to_tokens', 'is_threshold_inclusive', 'valid_from_at', 'valid_to_at',
] -%}
with

provider_aliases as (
    select * from {{ ref('seed_provider_aliases') }}
),

named as (
    select
        versions.source_name,
        coalesce(provider_aliases.provider_name, lower(versions.provider_name)) as provider_name,
        versions.model_id,
        versions.service_tier,
        lower(versions.region_id) as region_id,
        versions.unit_kind,
        versions.pricing_currency,
        versions.evidence,
        versions.unit_price,
        versions.context_over_tokens,
        versions.context_up_to_tokens,
        versions.week_minute_from,
        versions.week_minute_to,
        versions.is_threshold_inclusive,
        versions.valid_from_at,
        versions.valid_to_at,
        versions.known_from_at,
        versions.known_to_at
    from {{ ref('stg_rates__versions') }} as versions
    left join provider_aliases on lower(versions.provider_name) = provider_aliases.reported_provider_name
    where versions.known_to_at > versions.known_from_at
),

keyed as (
    select
        {{ content_hash(rate_key_columns()) }} as rate_key,
        named.*
    from named
),

-- A version that the next landing repeats is one version, known from the first landing on.
reached as (
    select
        *,
        max(known_to_at) over (
            partition by {{ content_columns | join(', ') }}
            order by known_from_at, known_to_at
            rows between unbounded preceding and 1 preceding
        ) as known_until_at
    from keyed
),

numbered as (
    select
        *,
        sum(case when known_from_at <= known_until_at then 0 else 1 end) over (
            partition by {{ content_columns | join(', ') }}
            order by known_from_at, known_to_at
            rows between unbounded preceding and current row
        ) as knowledge_index
    from reached
),

merged as (
    select
        {{ content_columns | join(',\n        ') }},
        {%- for column in rate_key_columns() %}
        max({{ column }}) as {{ column }},
        {%- endfor %}
        max(evidence) as evidence,
        min(known_from_at) as known_from_at,
        max(known_to_at) as known_to_at
    from numbered
    group by {{ content_columns | join(', ') }}, knowledge_index
),

final as (
    select
        {{ content_hash(content_columns + ['known_from_at']) }} as rate_version_id,
        rate_key,
        source_name,
        provider_name,
        model_id,
        service_tier,
        region_id,
        unit_kind,
        pricing_currency,
        evidence,
        unit_price,
        context_over_tokens,
        context_up_to_tokens,
        week_minute_from,
        week_minute_to,
        is_threshold_inclusive,
        valid_from_at,
        valid_to_at,
        known_from_at,
        known_to_at
    from merged
)

select * from final
