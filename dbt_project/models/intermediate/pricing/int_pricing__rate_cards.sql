{%- set exchange_rate_unknown -%}
    contracted_usd_per_unit is null
    and coalesce(term_pricing_currency, pricing_currency) <> 'USD'
{%- endset -%}
with

prices as (
    select * from {{ ref('int_pricing__segment_prices') }}
),

pivoted as (
    select
        reported_provider_name,
        reported_model_name,
        service_tier,
        region_key,
        context_over_tokens,
        context_up_to_tokens,
        week_minute_from,
        week_minute_to,
        {% for kind in unit_kinds() -%}
        max(case when unit_kind = '{{ kind }}' then list_usd_per_unit end) as list_{{ kind }}_usd_per_unit,
        max(case when unit_kind = '{{ kind }}' then contracted_usd_per_unit end)
            as contracted_{{ kind }}_usd_per_unit,
        {% endfor -%}
        {% for price in ['list', 'contracted'] -%}
        {%- set usd = price ~ '_usd_per_unit' -%}
        {{ map_of('unit_kind', usd, usd ~ ' is not null and ' ~ is_other_kind()) }} as {{ price }}_other_usd_per_unit,
        {% endfor -%}
        {{ content_of_group(price_content_columns()) }} as price_content,
        max(case when {{ exchange_rate_unknown }} then 1 else 0 end) = 1 as is_exchange_rate_unknown,
        valid_from_at,
        valid_to_at
    from prices
    group by
        reported_provider_name, reported_model_name, service_tier, region_key, context_over_tokens,
        context_up_to_tokens, week_minute_from, week_minute_to, valid_from_at, valid_to_at
    having
        max(contracted_usd_per_unit) is not null
        or max(case when {{ exchange_rate_unknown }} then 1 else 0 end) = 1
),

-- The key is made of the prices and what they rest on, not of when they hold: a boundary that a later rate draws
-- elsewhere moves no key.
final as (
    select
        {{ content_hash([
            'reported_provider_name', 'reported_model_name', 'service_tier', 'region_key', 'price_content',
        ]) }} as rate_card_key,
        reported_provider_name,
        reported_model_name,
        service_tier,
        region_key,
        context_over_tokens,
        context_up_to_tokens,
        week_minute_from,
        week_minute_to,
        {% for kind in unit_kinds() -%}
        list_{{ kind }}_usd_per_unit,
        contracted_{{ kind }}_usd_per_unit,
        {% endfor -%}
        list_other_usd_per_unit,
        contracted_other_usd_per_unit,
        is_exchange_rate_unknown,
        valid_from_at,
        valid_to_at
    from pivoted
)

select * from final
