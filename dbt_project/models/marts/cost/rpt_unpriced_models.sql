with

unpriced as (
    select
        provider_name,
        model_name,
        service_tier,
        unpriced_reason_type,
        rate_card_key,
        count(*) as call_count,
        sum(coalesce(reported_input_tokens, 0)) as input_tokens,
        sum(coalesce(reported_output_tokens, 0)) as output_tokens,
        {% for kind in unit_kinds() if kind != 'request' -%}
        max(case when {{ quantity_column(kind) }} > 0 then 1 else 0 end) as has_{{ kind }},
        {% endfor -%}
        max(case when other_units is not null then 1 else 0 end) as has_other,
        min(event_date) as first_date,
        max(event_date) as last_date
    from {{ ref('fct_calls') }}
    where pricing_status_type = 'unpriced'
    group by provider_name, model_name, service_tier, unpriced_reason_type, rate_card_key
),

used_kinds as (
    {% for kind in unit_kinds() if kind != 'request' -%}
    select
        provider_name,
        model_name,
        service_tier,
        rate_card_key,
        '{{ kind }}' as unit_kind_type
    from unpriced
    where
        has_{{ kind }} = 1
        and unpriced_reason_type = 'no_price_for_unit_kind'
    union all
    {% endfor -%}
    select
        provider_name,
        model_name,
        service_tier,
        rate_card_key,
        'other' as unit_kind_type
    from unpriced
    where
        has_other = 1
        and unpriced_reason_type = 'no_price_for_unit_kind'
),

-- Of the kinds without a column of their own it is not told here which one lacks its price.
missing_kinds as (
    select distinct
        used_kinds.provider_name,
        used_kinds.model_name,
        used_kinds.service_tier,
        used_kinds.unit_kind_type
    from used_kinds
    left join {{ ref('dim_rate_cards') }} as rate_cards
        on
            used_kinds.rate_card_key = rate_cards.rate_card_key
            and used_kinds.unit_kind_type = rate_cards.unit_kind_type
    where rate_cards.contracted_usd_per_unit is null
),

missing as (
    select
        provider_name,
        model_name,
        service_tier,
        {{ content_of_group(['unit_kind_type']) }} as missing_unit_kinds
    from missing_kinds
    group by provider_name, model_name, service_tier
),

summed as (
    select
        provider_name,
        model_name,
        service_tier,
        unpriced_reason_type,
        sum(call_count) as call_count,
        sum(input_tokens) as input_tokens,
        sum(output_tokens) as output_tokens,
        min(first_date) as first_date,
        max(last_date) as last_date
    from unpriced
    group by provider_name, model_name, service_tier, unpriced_reason_type
),

final as (
    select
        summed.provider_name,
        summed.model_name,
        summed.service_tier,
        summed.unpriced_reason_type,
        case when summed.unpriced_reason_type = 'no_price_for_unit_kind' then missing.missing_unit_kinds end
            as missing_unit_kinds,
        case summed.unpriced_reason_type
            when 'unknown_model'
                then concat(
                    'seed_model_aliases.csv: ', coalesce(summed.provider_name, '<provider>'), ',',
                    coalesce(summed.model_name, '<model>'), ',<model_id of a rate card>,<evidence>'
                )
            when 'no_rate_on_that_day'
                then concat(
                    'contract_files: <contract_id>,', summed.provider_name, ',', summed.model_name,
                    ',unit_price,<unit kind>,<usd_per_million>,', cast(summed.first_date as varchar), ',true,<evidence>'
                )
            when 'no_exchange_rate'
                then concat(
                    'seed_exchange_rates.csv: <currency>,', cast(summed.first_date as varchar),
                    ',<usd_per_currency_unit>,<evidence>'
                )
            when 'no_price_for_unit_kind'
                then concat(
                    'contract_files: <contract_id>,', summed.provider_name, ',', summed.model_name, ',unit_price,',
                    coalesce(missing.missing_unit_kinds, '<unit kind>'), ',<usd_per_million>,',
                    cast(summed.first_date as varchar), ',true,<evidence>'
                )
        end as mapping_row,
        cast(summed.call_count as bigint) as call_count,
        cast(summed.input_tokens as bigint) as input_tokens,
        cast(summed.output_tokens as bigint) as output_tokens,
        summed.first_date,
        summed.last_date
    from summed
    left join missing
        on
            summed.provider_name = missing.provider_name
            and summed.model_name = missing.model_name
            and summed.service_tier = missing.service_tier
)

select * from final
