with

latest as (
    select max(event_date) as last_date
    from {{ ref('fct_calls') }}
),

rate_cards as (
    select * from {{ ref('dim_rate_cards') }}
),

rates as (
    select * from {{ ref('int_pricing__rates') }}
),

exchange_rates as (
    select
        pricing_currency,
        usd_per_currency_unit,
        valid_from_date,
        coalesce(
            lead(valid_from_date) over (
                partition by pricing_currency
                order by valid_from_date
            ),
            cast('9999-12-31' as date)
        ) as valid_to_date
    from {{ ref('seed_exchange_rates') }}
),

-- What each catalogue calls a model, by the names that the ledger's calls have.
listings as (
    select distinct
        resolved.provider_name,
        matches.reported_model_name as model_name,
        matches.source_name,
        matches.rate_provider_name,
        matches.model_id
    from {{ ref('int_pricing__model_matches') }} as matches
    inner join {{ ref('int_pricing__models_resolved') }} as resolved
        on
            matches.reported_provider_name = resolved.reported_provider_name
            and matches.reported_model_name = resolved.reported_model_name
),

used as (
    select
        calls.event_date,
        calls.provider_name,
        calls.model_name,
        {% for kind in token_kinds() -%}
        sum(calls.{{ quantity_column(kind) }}) as {{ quantity_column(kind) }},
        {% endfor -%}
        calls.rate_card_key
    from {{ ref('fct_calls') }} as calls
    inner join latest on calls.event_date > latest.last_date - interval '30 days'
    where calls.rate_card_key is not null
    group by calls.event_date, calls.provider_name, calls.model_name, calls.rate_card_key
),

quantities as (
    {% for kind in token_kinds() -%}
    select
        event_date,
        provider_name,
        model_name,
        rate_card_key,
        '{{ kind }}' as unit_kind_type,
        cast({{ quantity_column(kind) }} as bigint) as quantity_tokens
    from used
    where {{ quantity_column(kind) }} > 0
    {{ 'union all' if not loop.last }}
    {% endfor -%}
),

in_force as (
    select
        quantities.*,
        rate_cards.rate_id,
        rate_cards.rate_source_name,
        rate_cards.rate_service_tier,
        rate_cards.rate_region_id,
        rate_cards.price_kind_type,
        rate_cards.rate_context_over_tokens,
        rate_cards.rate_week_minute_from,
        rate_cards.list_usd_per_unit,
        cast(rate_cards.rate_unit_price * rate_cards.usd_per_currency_unit as decimal(18, 15)) as usd_per_unit,
        cast(rate_cards.region_multiplier * rate_cards.tier_multiplier as decimal(18, 12)) as card_multiplier
    from quantities
    inner join rate_cards
        on
            quantities.rate_card_key = rate_cards.rate_card_key
            and quantities.unit_kind_type = rate_cards.unit_kind_type
    where rate_cards.rate_id is not null
),

-- The other catalogue's price for the same tier, kind, context and hour, as it holds when the day begins.
others as (
    select
        in_force.*,
        rates.rate_id as other_rate_id,
        rates.source_name as other_source_name,
        rates.evidence as other_evidence,
        cast(
            rates.unit_price
            * case when rates.pricing_currency = 'USD' then 1 else exchange_rates.usd_per_currency_unit end
            as decimal(18, 15)
        ) as other_usd_per_unit,
        row_number() over (
            partition by
                in_force.event_date, in_force.provider_name, in_force.model_name, in_force.rate_card_key,
                in_force.unit_kind_type, rates.source_name
            order by
                case when rates.region_id is null then 2 else 1 end asc,
                rates.week_minute_to - rates.week_minute_from asc,
                rates.context_over_tokens desc,
                rates.valid_from_at desc,
                rates.rate_id asc
        ) as nearness_rank
    from in_force
    inner join listings
        on
            in_force.provider_name = listings.provider_name
            and in_force.model_name = listings.model_name
    inner join rates
        on
            listings.source_name = rates.source_name
            and listings.rate_provider_name = rates.provider_name
            and listings.model_id = rates.model_id
            and in_force.price_kind_type = rates.unit_kind
            and in_force.rate_service_tier = rates.service_tier
            and (rates.region_id is null or in_force.rate_region_id = rates.region_id)
            and in_force.rate_context_over_tokens >= rates.context_over_tokens
            and (rates.context_up_to_tokens is null or in_force.rate_context_over_tokens < rates.context_up_to_tokens)
            and in_force.rate_week_minute_from >= rates.week_minute_from
            and in_force.rate_week_minute_from < rates.week_minute_to
            and in_force.rate_source_name <> rates.source_name
            and cast(in_force.event_date as timestamp with time zone) >= rates.valid_from_at
            and cast(in_force.event_date as timestamp with time zone) < rates.valid_to_at
    left join exchange_rates
        on
            rates.pricing_currency = exchange_rates.pricing_currency
            and in_force.event_date >= exchange_rates.valid_from_date
            and in_force.event_date < exchange_rates.valid_to_date
),

final as (
    select
        provider_name,
        model_name,
        unit_kind_type,
        rate_id,
        other_rate_id,
        max(rate_source_name) as rate_source_name,
        max(other_source_name) as other_source_name,
        max(other_evidence) as other_evidence,
        max(usd_per_unit) as usd_per_unit,
        max(other_usd_per_unit) as other_usd_per_unit,
        cast(case when max(usd_per_unit) > 0 then max(other_usd_per_unit) / max(usd_per_unit) end as double)
            as price_multiplier,
        cast(sum(quantity_tokens) as bigint) as quantity_tokens,
        cast(sum(quantity_tokens * list_usd_per_unit) as decimal(38, 15)) as list_cost_usd,
        cast(sum(quantity_tokens * cast(other_usd_per_unit * card_multiplier as decimal(18, 15))) as decimal(38, 15))
            as other_list_cost_usd,
        cast(
            sum(quantity_tokens * (cast(other_usd_per_unit * card_multiplier as decimal(18, 15)) - list_usd_per_unit))
            as decimal(38, 15)
        ) as change_usd,
        min(event_date) as first_date,
        max(event_date) as last_date
    from others
    where
        nearness_rank = 1
        and other_usd_per_unit <> usd_per_unit
    group by provider_name, model_name, unit_kind_type, rate_id, other_rate_id
)

select * from final
