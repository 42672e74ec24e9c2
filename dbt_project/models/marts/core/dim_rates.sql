with

versions as (
    select * from {{ ref('int_pricing__rate_versions') }}
),

held as (
    select * from {{ ref('int_pricing__rates_held') }}
),

final as (
    select
        versions.rate_version_id,
        versions.rate_key,
        versions.source_name,
        versions.provider_name,
        versions.model_id,
        versions.service_tier,
        versions.region_id,
        versions.unit_kind as unit_kind_type,
        versions.pricing_currency,
        versions.evidence,
        versions.unit_price,
        cast(coalesce(held.accepted_unit_price, versions.unit_price) as decimal(18, 15)) as accepted_unit_price,
        versions.context_over_tokens,
        versions.context_up_to_tokens,
        versions.week_minute_from,
        versions.week_minute_to,
        versions.is_threshold_inclusive,
        held.rate_key is not null as is_held,
        versions.valid_from_at,
        versions.valid_to_at,
        versions.known_from_at,
        versions.known_to_at
    from versions
    left join held
        on
            versions.rate_key = held.rate_key
            and versions.valid_from_at = held.valid_from_at
            and versions.unit_price = held.unit_price
)

select * from final
