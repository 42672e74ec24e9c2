with

source as (
    select * from {{ source('raw', 'raw_litellm_prices__rates') }}
),

versions as (
    {{ model_versions('source') }}
),

rates as (
    select
        {{ catalogue_rate_columns() }},
        coalesce(valid_from, {{ beginning_of_time() }}) as valid_from_at,
        known_from as known_from_at
    from source
),

final as (
    select
        rates.source_name,
        rates.provider_name,
        rates.model_id,
        rates.service_tier,
        rates.region_id,
        rates.unit_kind,
        rates.price_key,
        rates.pricing_currency,
        rates.pricing_unit,
        rates.evidence,
        rates.unit_price,
        rates.context_over_tokens,
        rates.context_up_to_tokens,
        rates.week_minute_from,
        rates.week_minute_to,
        rates.is_threshold_inclusive,
        rates.valid_from_at,
        versions.superseded_at as valid_to_at,
        rates.known_from_at
    from rates
    inner join versions
        on
            rates.source_name = versions.source_name
            and rates.provider_name = versions.provider_name
            and rates.model_id = versions.model_id
            and rates.valid_from_at = versions.valid_from_at
)

select * from final
