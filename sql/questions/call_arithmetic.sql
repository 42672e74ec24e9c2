-- How was a call priced? One row per unit kind that it used: quantity x unit price = cost, and what the unit price
-- rests on. $call_id names the call, $source_name its source; null stands for any.
select
    charges.source_name,
    charges.call_id,
    charges.event_date,
    charges.unit_kind_type,
    charges.quantity_units,
    charges.free_units,
    charges.list_usd_per_unit,
    charges.contracted_usd_per_unit,
    charges.list_cost_usd,
    charges.contracted_cost_usd,
    charges.is_price_fallback,
    cards.price_kind_type,
    cards.service_tier,
    cards.rate_source_name,
    cards.rate_service_tier,
    cards.rate_region_id,
    cards.rate_unit_price,
    cards.pricing_currency,
    cards.region_multiplier,
    cards.tier_multiplier,
    cards.usd_per_currency_unit,
    cards.rate_evidence,
    cards.rate_context_over_tokens,
    cards.rate_context_up_to_tokens,
    cards.rate_week_minute_from,
    cards.rate_week_minute_to,
    cards.is_threshold_inclusive,
    cards.contract_id,
    cards.contract_term_type,
    cards.contract_unit_price,
    cards.contract_pricing_currency,
    cards.contract_usd_per_currency_unit,
    cards.contract_evidence,
    cards.contract_context_over_tokens,
    cards.contract_context_up_to_tokens,
    cards.contract_week_minute_from,
    cards.contract_week_minute_to,
    cards.discount_share,
    cards.spend_contract_id,
    cards.spend_discount_share,
    allowances.allowance_group,
    allowances.contract_id as allowance_contract_id,
    allowances.allowance_source_name,
    allowances.period_type as allowance_period_type,
    allowances.allowance_units,
    allowances.evidence as allowance_evidence
from marts.fct_call_charges as charges
inner join marts.fct_calls as calls
    on
        charges.source_name = calls.source_name
        and charges.call_id = calls.call_id
        and charges.event_date = calls.event_date
left join marts.dim_rate_cards as cards
    on
        charges.rate_card_key = cards.rate_card_key
        and charges.unit_kind_type = cards.unit_kind_type
left join marts.dim_allowances as allowances
    on
        calls.provider_name = allowances.provider_name
        and calls.model_name = allowances.model_name
        and calls.service_tier = allowances.service_tier
        and lower(calls.region_id) is not distinct from allowances.region_id
        and charges.unit_kind_type = allowances.unit_kind_type
        and calls.called_at >= allowances.valid_from_at
        and calls.called_at < allowances.valid_to_at
where
    charges.call_id = $call_id
    and charges.source_name = coalesce($source_name, charges.source_name)
    and calls.call_id = $call_id
qualify
    row_number() over (
        partition by charges.source_name, charges.call_id, charges.event_date, charges.unit_kind_type
        order by allowances.reported_provider_name
    ) = 1
order by
    charges.event_date asc, charges.source_name asc, charges.list_cost_usd desc nulls last, charges.unit_kind_type asc
