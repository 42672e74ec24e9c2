select
    rate_card_key,
    provider_name,
    rate_provider_name,
    model_id,
    service_tier,
    {% for kind in unit_kinds() -%}
    {{ kind }}_contract_id,
    {% endfor -%}
    min(context_over_tokens) as context_over_tokens,
    max(context_up_to_tokens) as context_up_to_tokens,
    {% for kind in unit_kinds() -%}
    list_{{ kind }}_usd_per_unit,
    contracted_{{ kind }}_usd_per_unit,
    is_{{ kind }}_price_fallback,
    {% endfor -%}
    min(valid_from_at) as valid_from_at,
    max(valid_to_at) as valid_to_at
from {{ ref('int_pricing__rate_cards') }}
group by
    rate_card_key,
    {{ rate_card_columns() | join(',\n    ') }}
