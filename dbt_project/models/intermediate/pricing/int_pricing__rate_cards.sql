with

rates as (
    select * from {{ ref('int_pricing__rates') }}
),

contract_terms as (
    select
        *,
        unit_price as usd_per_unit
    from {{ ref('stg_contract_files__terms') }}
    where
        not is_list
        and (
            term_type = 'percentage_discount'
            or (term_type = 'unit_price' and context_over_tokens = -1 and {{ is_everywhere_and_always_in_usd() }})
        )
),

reported as (
    select * from {{ ref('int_usage__models_reported') }}
),

resolved as (
    select *
    from {{ ref('int_pricing__models_resolved') }}
    where model_id is not null
),

-- Only models that a call has named: a catalogue holds thousands that this company never uses.
groups as (
    select distinct
        resolved.provider_name,
        resolved.rate_provider_name,
        resolved.model_id,
        reported.service_tier
    from reported
    inner join resolved
        on
            reported.provider_name = resolved.reported_provider_name
            and reported.model_name = resolved.reported_model_name
),

-- A tier's card holds its own prices and, for kinds it does not name, the standard ones.
group_rates as (
    select
        groups.*,
        rates.rate_id,
        rates.unit_kind,
        rates.usd_per_unit,
        rates.context_over_tokens,
        rates.context_up_to_tokens,
        rates.source_rank,
        rates.valid_from_at,
        rates.valid_to_at,
        case when rates.service_tier = groups.service_tier then 1 else 2 end as tier_rank
    from groups
    inner join rates
        on
            groups.rate_provider_name = rates.provider_name
            and groups.model_id = rates.model_id
            and rates.service_tier in (groups.service_tier, 'standard')
),

-- A contract is with the provider that bills, whoever's list its prices are taken from.
group_terms as (
    select
        groups.*,
        contract_terms.contract_id,
        contract_terms.unit_kind,
        contract_terms.usd_per_unit,
        contract_terms.discount_share,
        contract_terms.valid_from_at,
        contract_terms.valid_to_at,
        case when contract_terms.model_pattern = '*' then 2 else 1 end as model_rank,
        case when contract_terms.service_tier is null then 2 else 1 end as tier_rank,
        case when contract_terms.term_type = 'unit_price' then 1 else 2 end as type_rank
    from groups
    inner join contract_terms
        on
            groups.provider_name = contract_terms.provider_name
            and lower(groups.model_id) like contract_terms.model_like escape '!'
            and (contract_terms.service_tier is null or groups.service_tier = contract_terms.service_tier)
),

-- Between two neighbouring boundaries no price changes.
boundaries as (
    {% for relation in ['group_rates', 'group_terms'] -%}
    {% for boundary in ['valid_from_at', 'valid_to_at'] -%}
    select
        provider_name,
        rate_provider_name,
        model_id,
        service_tier,
        {{ boundary }} as boundary_at
    from {{ relation }}
    {{ 'union' if not loop.last }}
    {% endfor %}
    {{ 'union' if not loop.last }}
    {% endfor %}
),

segments as (
    select
        provider_name,
        rate_provider_name,
        model_id,
        service_tier,
        boundary_at as valid_from_at,
        lead(boundary_at) over (
            partition by provider_name, rate_provider_name, model_id, service_tier
            order by boundary_at
        ) as valid_to_at
    from boundaries
),

thresholds as (
    select distinct
        provider_name,
        rate_provider_name,
        model_id,
        service_tier,
        context_over_tokens
    from group_rates
),

bands as (
    select
        *,
        coalesce(
            lead(context_over_tokens) over (
                partition by provider_name, rate_provider_name, model_id, service_tier
                order by context_over_tokens
            ),
            9223372036854775807
        ) as context_up_to_tokens
    from thresholds
),

-- Which kinds' prices a kind takes, its own first.
price_kinds as (
    {% for kind in unit_kinds() -%}
    {% for price_kind in [kind] + price_fallbacks().get(kind, []) -%}
    select
        '{{ kind }}' as unit_kind,
        '{{ price_kind }}' as price_kind,
        {{ loop.index }} as kind_rank
    {{ 'union all' if not loop.last }}
    {% endfor %}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

cells as (
    select
        segments.*,
        bands.context_over_tokens,
        bands.context_up_to_tokens,
        price_kinds.unit_kind
    from segments
    inner join bands
        on
            segments.provider_name = bands.provider_name
            and segments.rate_provider_name = bands.rate_provider_name
            and segments.model_id = bands.model_id
            and segments.service_tier = bands.service_tier
    inner join price_kinds on price_kinds.kind_rank = 1
    where segments.valid_to_at is not null
),

list_candidates as (
    select
        cells.*,
        price_kinds.price_kind,
        group_rates.usd_per_unit,
        price_kinds.kind_rank > 1 or group_rates.tier_rank > 1 as is_price_fallback,
        row_number() over (
            partition by
                cells.provider_name, cells.rate_provider_name, cells.model_id, cells.service_tier,
                cells.valid_from_at, cells.context_over_tokens, cells.unit_kind
            order by
                price_kinds.kind_rank asc, group_rates.tier_rank asc, group_rates.source_rank asc,
                group_rates.context_over_tokens desc, group_rates.valid_from_at desc, group_rates.rate_id asc
        ) as candidate_rank
    from cells
    inner join price_kinds on cells.unit_kind = price_kinds.unit_kind
    inner join group_rates
        on
            cells.provider_name = group_rates.provider_name
            and cells.rate_provider_name = group_rates.rate_provider_name
            and cells.model_id = group_rates.model_id
            and cells.service_tier = group_rates.service_tier
            and price_kinds.price_kind = group_rates.unit_kind
            and cells.valid_from_at >= group_rates.valid_from_at
            and cells.valid_from_at < group_rates.valid_to_at
            and cells.context_over_tokens >= group_rates.context_over_tokens
            and (
                group_rates.context_up_to_tokens is null
                or cells.context_over_tokens < group_rates.context_up_to_tokens
            )
),

list_prices as (
    select
        cells.*,
        list_candidates.price_kind,
        list_candidates.usd_per_unit,
        coalesce(list_candidates.is_price_fallback, false) as is_price_fallback
    from cells
    left join list_candidates
        on
            cells.provider_name = list_candidates.provider_name
            and cells.rate_provider_name = list_candidates.rate_provider_name
            and cells.model_id = list_candidates.model_id
            and cells.service_tier = list_candidates.service_tier
            and cells.valid_from_at = list_candidates.valid_from_at
            and cells.context_over_tokens = list_candidates.context_over_tokens
            and cells.unit_kind = list_candidates.unit_kind
            and list_candidates.candidate_rank = 1
),

-- The nearest term wins: of the model, of the tier, of the kind, then a price before a percentage, then the latest.
term_candidates as (
    select
        list_prices.*,
        group_terms.contract_id,
        coalesce(
            group_terms.usd_per_unit,
            cast(list_prices.usd_per_unit * (1 - group_terms.discount_share) as decimal(18, 15)),
            list_prices.usd_per_unit
        ) as contracted_usd_per_unit,
        row_number() over (
            partition by
                list_prices.provider_name, list_prices.rate_provider_name, list_prices.model_id,
                list_prices.service_tier, list_prices.valid_from_at, list_prices.context_over_tokens,
                list_prices.unit_kind
            order by
                group_terms.model_rank asc,
                group_terms.tier_rank asc,
                case
                    when group_terms.unit_kind = list_prices.unit_kind then 1
                    when group_terms.unit_kind is not null then 2
                    else 3
                end asc,
                group_terms.type_rank asc,
                group_terms.valid_from_at desc,
                group_terms.contract_id asc,
                group_terms.usd_per_unit asc,
                group_terms.discount_share desc
        ) as candidate_rank
    from list_prices
    left join group_terms
        on
            list_prices.provider_name = group_terms.provider_name
            and list_prices.rate_provider_name = group_terms.rate_provider_name
            and list_prices.model_id = group_terms.model_id
            and list_prices.service_tier = group_terms.service_tier
            and list_prices.valid_from_at >= group_terms.valid_from_at
            and list_prices.valid_from_at < group_terms.valid_to_at
            and (
                group_terms.unit_kind is null
                or list_prices.unit_kind = group_terms.unit_kind
                or list_prices.price_kind = group_terms.unit_kind
            )
            and (list_prices.usd_per_unit is not null or list_prices.unit_kind = group_terms.unit_kind)
),

pivoted as (
    select
        provider_name,
        rate_provider_name,
        model_id,
        service_tier,
        {% for kind in unit_kinds() -%}
        max(case when unit_kind = '{{ kind }}' then contract_id end) as {{ kind }}_contract_id,
        {% endfor -%}
        context_over_tokens,
        context_up_to_tokens,
        {% for kind in unit_kinds() -%}
        max(case when unit_kind = '{{ kind }}' then usd_per_unit end) as list_{{ kind }}_usd_per_unit,
        max(case when unit_kind = '{{ kind }}' then contracted_usd_per_unit end)
            as contracted_{{ kind }}_usd_per_unit,
        max(case when unit_kind = '{{ kind }}' and is_price_fallback then 1 else 0 end) = 1
            as is_{{ kind }}_price_fallback,
        {% endfor -%}
        valid_from_at,
        valid_to_at
    from term_candidates
    where candidate_rank = 1
    group by
        provider_name, rate_provider_name, model_id, service_tier, context_over_tokens, context_up_to_tokens,
        valid_from_at, valid_to_at
    having max(contracted_usd_per_unit) is not null
),

-- The key is made of the prices, not of when they hold: a boundary that a later rate draws elsewhere moves no key.
final as (
    select
        {{ content_hash(rate_card_columns()) }} as rate_card_key,
        *
    from pivoted
)

select * from final
