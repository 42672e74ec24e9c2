with

prices as (
    select * from {{ ref('int_pricing__segment_prices') }}
),

cards as (
    select * from {{ ref('int_pricing__rate_cards') }}
),

resolved as (
    select * from {{ ref('int_pricing__models_resolved') }}
),

final as (
    select
        cards.rate_card_key,
        prices.unit_kind as unit_kind_type,
        max(resolved.provider_name) as provider_name,
        max(resolved.model_id) as model_id,
        prices.service_tier,
        nullif(prices.region_key, '') as region_id,
        max(prices.price_kind) as price_kind_type,
        max(prices.rate_id) as rate_id,
        max(prices.rate_source_name) as rate_source_name,
        max(prices.rate_service_tier) as rate_service_tier,
        max(prices.rate_region_id) as rate_region_id,
        max(prices.pricing_currency) as pricing_currency,
        max(prices.evidence) as rate_evidence,
        max(prices.contract_id) as contract_id,
        max(prices.term_type) as contract_term_type,
        max(prices.term_pricing_currency) as contract_pricing_currency,
        max(prices.term_evidence) as contract_evidence,
        max(prices.spend_contract_id) as spend_contract_id,
        {% for part, name in [('rate', 'rate'), ('term', 'contract')] -%}
        {% for column in [
            'context_over_tokens', 'context_up_to_tokens', 'week_minute_from', 'week_minute_to',
        ] -%}
        max(prices.{{ part }}_{{ column }}) as {{ name }}_{{ column }},
        {% endfor -%}
        {% endfor -%}
        max(prices.unit_price) as rate_unit_price,
        max(prices.usd_per_currency_unit) as usd_per_currency_unit,
        max(prices.region_multiplier) as region_multiplier,
        max(prices.tier_multiplier) as tier_multiplier,
        max(prices.list_usd_per_unit) as list_usd_per_unit,
        max(prices.term_unit_price) as contract_unit_price,
        max(prices.term_usd_per_currency_unit) as contract_usd_per_currency_unit,
        max(prices.discount_share) as discount_share,
        max(prices.spend_discount_share) as spend_discount_share,
        max(prices.contracted_usd_per_unit) as contracted_usd_per_unit,
        max(case when prices.is_threshold_inclusive then 1 else 0 end) = 1 as is_threshold_inclusive,
        max(case when prices.is_price_fallback then 1 else 0 end) = 1 as is_price_fallback,
        min(prices.valid_from_at) as valid_from_at,
        max(prices.valid_to_at) as valid_to_at
    from prices
    inner join cards
        on
            {{ same_group('prices', 'cards') }}
            and prices.context_over_tokens = cards.context_over_tokens
            and prices.week_minute_from = cards.week_minute_from
            and prices.valid_from_at = cards.valid_from_at
    inner join resolved
        on
            prices.reported_provider_name = resolved.reported_provider_name
            and prices.reported_model_name = resolved.reported_model_name
    group by cards.rate_card_key, prices.unit_kind, prices.service_tier, prices.region_key
)

select * from final
