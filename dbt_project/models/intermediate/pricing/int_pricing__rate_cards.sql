with

rates as (
    select * from {{ ref('int_pricing__rates') }}
),

-- Only models that a call has named: a catalogue holds thousands that this company never uses.
groups as (
    select distinct
        resolved.rate_provider_name as provider_name,
        resolved.model_id,
        reported.service_tier
    from {{ ref('int_usage__models_reported') }} as reported
    inner join {{ ref('int_pricing__models_resolved') }} as resolved
        on
            reported.provider_name is not distinct from resolved.reported_provider_name
            and reported.model_name is not distinct from resolved.reported_model_name
    where resolved.model_id is not null
),

terms as (
    select
        groups.provider_name,
        groups.model_id,
        groups.service_tier,
        terms.contract_id,
        terms.term_type,
        terms.unit_kind,
        terms.usd_per_unit,
        terms.discount_share,
        terms.valid_from_at,
        terms.valid_to_at,
        case when terms.model_pattern = '*' then 2 else 1 end as specificity_rank
    from groups
    inner join {{ ref('stg_contract_files__terms') }} as terms
        on
            groups.provider_name = terms.provider_name
            and lower(groups.model_id) like terms.model_like
            and (terms.service_tier is null or groups.service_tier = terms.service_tier)
    where not terms.is_list
),

-- A tier's card holds its own prices and, for kinds it does not name, the standard ones.
group_rates as (
    select
        groups.provider_name,
        groups.model_id,
        groups.service_tier,
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
            groups.provider_name = rates.provider_name
            and groups.model_id = rates.model_id
            and rates.service_tier in (groups.service_tier, 'standard')
),

boundaries as (
    select provider_name, model_id, service_tier, valid_from_at as boundary_at from group_rates
    union
    select provider_name, model_id, service_tier, valid_to_at as boundary_at from group_rates
    union
    select provider_name, model_id, service_tier, valid_from_at as boundary_at from terms
    union
    select provider_name, model_id, service_tier, valid_to_at as boundary_at from terms
),

segments as (
    select
        *,
        lead(boundary_at) over (
            partition by provider_name, model_id, service_tier
            order by boundary_at
        ) as next_boundary_at
    from boundaries
),

thresholds as (
    select distinct provider_name, model_id, service_tier, context_over_tokens from group_rates
),

bands as (
    select
        *,
        lead(context_over_tokens) over (
            partition by provider_name, model_id, service_tier
            order by context_over_tokens
        ) as context_up_to_tokens
    from thresholds
),

list_candidates as (
    select
        segments.provider_name,
        segments.model_id,
        segments.service_tier,
        segments.boundary_at as valid_from_at,
        segments.next_boundary_at as valid_to_at,
        bands.context_over_tokens,
        bands.context_up_to_tokens,
        group_rates.unit_kind,
        group_rates.usd_per_unit,
        group_rates.rate_id,
        row_number() over (
            partition by
                segments.provider_name, segments.model_id, segments.service_tier, segments.boundary_at,
                bands.context_over_tokens, group_rates.unit_kind
            order by
                group_rates.source_rank, group_rates.tier_rank, group_rates.context_over_tokens desc,
                group_rates.valid_from_at desc, group_rates.rate_id
        ) as rate_rank
    from segments
    inner join bands
        on
            segments.provider_name = bands.provider_name
            and segments.model_id = bands.model_id
            and segments.service_tier = bands.service_tier
    inner join group_rates
        on
            segments.provider_name = group_rates.provider_name
            and segments.model_id = group_rates.model_id
            and segments.service_tier = group_rates.service_tier
            and segments.boundary_at >= group_rates.valid_from_at
            and segments.boundary_at < group_rates.valid_to_at
            and bands.context_over_tokens >= group_rates.context_over_tokens
            and (
                group_rates.context_up_to_tokens is null
                or bands.context_over_tokens < group_rates.context_up_to_tokens
            )
    where segments.next_boundary_at is not null
),

list_prices as (
    select * from list_candidates where rate_rank = 1
),

term_candidates as (
    select
        list_prices.provider_name,
        list_prices.model_id,
        list_prices.service_tier,
        list_prices.valid_from_at,
        list_prices.context_over_tokens,
        list_prices.unit_kind,
        terms.contract_id,
        coalesce(
            terms.usd_per_unit,
            cast(list_prices.usd_per_unit * (1 - terms.discount_share) as decimal(18, 15))
        ) as usd_per_unit,
        row_number() over (
            partition by
                list_prices.provider_name, list_prices.model_id, list_prices.service_tier,
                list_prices.valid_from_at, list_prices.context_over_tokens, list_prices.unit_kind
            order by
                terms.specificity_rank,
                case when terms.term_type = 'unit_price' then 1 else 2 end,
                terms.valid_from_at desc,
                terms.contract_id
        ) as term_rank
    from list_prices
    inner join terms
        on
            list_prices.provider_name = terms.provider_name
            and list_prices.model_id = terms.model_id
            and list_prices.service_tier = terms.service_tier
            and list_prices.valid_from_at >= terms.valid_from_at
            and list_prices.valid_from_at < terms.valid_to_at
            and (terms.unit_kind is null or list_prices.unit_kind = terms.unit_kind)
),

prices as (
    select
        list_prices.provider_name,
        list_prices.model_id,
        list_prices.service_tier,
        list_prices.valid_from_at,
        list_prices.valid_to_at,
        list_prices.context_over_tokens,
        list_prices.context_up_to_tokens,
        list_prices.unit_kind,
        list_prices.usd_per_unit as list_usd_per_unit,
        coalesce(term_candidates.usd_per_unit, list_prices.usd_per_unit) as contracted_usd_per_unit,
        term_candidates.contract_id
    from list_prices
    left join term_candidates
        on
            list_prices.provider_name = term_candidates.provider_name
            and list_prices.model_id = term_candidates.model_id
            and list_prices.service_tier = term_candidates.service_tier
            and list_prices.valid_from_at = term_candidates.valid_from_at
            and list_prices.context_over_tokens = term_candidates.context_over_tokens
            and list_prices.unit_kind = term_candidates.unit_kind
            and term_candidates.term_rank = 1
),

pivoted as (
    select
        provider_name,
        model_id,
        service_tier,
        valid_from_at,
        valid_to_at,
        context_over_tokens,
        coalesce(context_up_to_tokens, 9223372036854775807) as context_up_to_tokens,
        max(contract_id) as contract_id
        {%- for kind in unit_kinds() %},
        max(case when unit_kind = '{{ kind }}' then list_usd_per_unit end) as list_{{ kind }},
        max(case when unit_kind = '{{ kind }}' then contracted_usd_per_unit end) as contracted_{{ kind }}
        {%- endfor %}
    from prices
    group by
        provider_name, model_id, service_tier, valid_from_at, valid_to_at, context_over_tokens, context_up_to_tokens
),

final as (
    select
        md5(concat_ws('|', provider_name, model_id, service_tier, valid_from_at, context_over_tokens))
            as rate_card_key,
        provider_name,
        model_id,
        service_tier,
        contract_id,
        context_over_tokens,
        context_up_to_tokens
        {%- for prefix in ['list', 'contracted'] %}
        {%- for kind in unit_kinds() %},
        {%- set columns = [prefix ~ '_' ~ kind] %}
        {%- for fallback in price_fallbacks().get(kind, []) %}{% do columns.append(prefix ~ '_' ~ fallback) %}{% endfor %}
        {% if columns | length > 1 %}coalesce({{ columns | join(', ') }}){% else %}{{ columns[0] }}{% endif %} as {{ prefix }}_{{ kind }}_usd_per_unit
        {%- endfor %}
        {%- endfor %},
        {%- for kind in unit_kinds() %}
        list_{{ kind }} is null as is_{{ kind }}_price_fallback,
        {%- endfor %}
        valid_from_at,
        valid_to_at
    from pivoted
)

select * from final
