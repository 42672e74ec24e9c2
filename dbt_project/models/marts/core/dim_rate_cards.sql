select
    rate_card_key,
    provider_name,
    model_id,
    service_tier,
    contract_id,
    context_over_tokens,
    context_up_to_tokens,
    {%- for prefix in ['list', 'contracted'] %}
    {%- for kind in unit_kinds() %}
    {{ prefix }}_{{ kind }}_usd_per_unit,
    {%- endfor %}
    {%- endfor %}
    {%- for kind in unit_kinds() %}
    is_{{ kind }}_price_fallback,
    {%- endfor %}
    valid_from_at,
    valid_to_at
from {{ ref('int_pricing__rate_cards') }}
