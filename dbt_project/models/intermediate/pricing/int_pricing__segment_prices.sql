{%- set group_columns = ['reported_provider_name', 'reported_model_name', 'service_tier', 'region_key'] -%}
{%- set group_list = group_columns | join(', ') -%}
with

reported as (
    select distinct
        provider_name as reported_provider_name,
        model_name as reported_model_name,
        service_tier,
        coalesce(lower(region_id), '') as region_key
    from {{ ref('int_usage__models_reported') }}
),

resolved as (
    select *
    from {{ ref('int_pricing__models_resolved') }}
    where model_id is not null
),

matches as (
    select * from {{ ref('int_pricing__model_matches') }}
),

rates as (
    select * from {{ ref('int_pricing__rates') }}
),

multipliers as (
    select * from {{ ref('int_pricing__multipliers') }}
),

contract_terms as (
    select *
    from {{ ref('stg_contract_files__terms') }}
    where
        not is_list
        and term_type in ('unit_price', 'percentage_discount', 'spend_discount')
),

exchange_rates as (
    {{ exchange_rate_intervals() }}
),

unit_kinds as (
    select * from {{ ref('seed_unit_kinds') }}
),

fallbacks as (
    {%- for kind, price_kinds in price_fallbacks().items() %}
    {%- set is_last_kind = loop.last %}
    {%- for price_kind in price_kinds %}
    select
        '{{ kind }}' as unit_kind,
        '{{ price_kind }}' as price_kind,
        {{ loop.index + 1 }} as kind_rank
    {{ 'union all' if not (is_last_kind and loop.last) }}
    {%- endfor %}
    {%- endfor %}
),

-- Which kinds' prices a kind takes, its own first.
price_kinds as (
    select
        unit_kind,
        unit_kind as price_kind,
        is_token,
        1 as kind_rank
    from unit_kinds
    union all
    select
        unit_kinds.unit_kind,
        fallbacks.price_kind,
        unit_kinds.is_token,
        fallbacks.kind_rank
    from unit_kinds
    inner join fallbacks on unit_kinds.unit_kind = fallbacks.unit_kind
),

-- What is priced: a model as calls report it, in a tier and a region.
groups as (
    select
        reported.*,
        resolved.provider_name,
        resolved.model_id,
        lower(reported.reported_model_name) as lookup_name
    from reported
    inner join resolved
        on
            reported.reported_provider_name = resolved.reported_provider_name
            and reported.reported_model_name = resolved.reported_model_name
),

patterns as (
    {% for relation in ['rates', 'multipliers', 'contract_terms'] -%}
    select
        provider_name,
        lower({{ 'model_pattern' if relation == 'contract_terms' else 'model_id' }}) as model_pattern,
        model_like
    from {{ relation }}
    where model_like is not null
    {{ 'union' if not loop.last }}
    {% endfor %}
),

-- Most patterns are a model's whole name, and need no search.
pattern_matches as (
    {% for name in ['lower(groups.model_id)', 'groups.lookup_name'] -%}
    select
        groups.*,
        patterns.model_pattern
    from groups
    inner join patterns
        on
            groups.provider_name = patterns.provider_name
            and {{ name }} = patterns.model_pattern
    union
    {% endfor %}
    select
        groups.*,
        patterns.model_pattern
    from groups
    inner join patterns
        on
            groups.provider_name = patterns.provider_name
            and patterns.model_pattern like '%*%'
            and (
                lower(groups.model_id) like patterns.model_like escape '!'
                or groups.lookup_name like patterns.model_like escape '!'
            )
),

-- A tier's card holds its own prices and, for kinds it does not name, the standard ones; so does a region's.
group_rates as (
    {% for is_stated in [false, true] -%}
    {%- set groups = 'pattern_matches' if is_stated else 'groups' -%}
    select
        {% for column in group_columns -%}
        {{ groups }}.{{ column }},
        {% endfor -%}
        rates.rate_id,
        rates.source_name,
        rates.source_rank,
        rates.service_tier as rate_service_tier,
        rates.region_id as rate_region_id,
        rates.unit_kind,
        rates.pricing_currency,
        rates.evidence,
        rates.unit_price,
        rates.context_over_tokens,
        rates.context_up_to_tokens,
        rates.week_minute_from,
        rates.week_minute_to,
        rates.is_threshold_inclusive,
        rates.valid_from_at,
        rates.valid_to_at,
        case when rates.service_tier = {{ groups }}.service_tier then 1 else 2 end as tier_rank
    from {{ groups }}
    {% if is_stated -%}
    inner join rates
        on
            rates.source_rank = 0
            and pattern_matches.provider_name = rates.provider_name
            and pattern_matches.model_pattern = lower(rates.model_id)
    {% else -%}
    inner join matches
        on
            groups.reported_provider_name = matches.reported_provider_name
            and groups.reported_model_name = matches.reported_model_name
    inner join rates
        on
            matches.source_name = rates.source_name
            and matches.rate_provider_name = rates.provider_name
            and matches.model_id = rates.model_id
            and rates.source_rank > 0
    {% endif -%}
    where
        rates.service_tier in ({{ groups }}.service_tier, 'standard')
        and {{ region_covers('rates.region_id', groups ~ '.region_key') }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

-- A contract is with the provider that bills, whoever's list its prices are taken from.
group_terms as (
    select
        {% for column in group_columns -%}
        pattern_matches.{{ column }},
        {% endfor -%}
        contract_terms.contract_id,
        contract_terms.term_type,
        contract_terms.unit_kind,
        contract_terms.pricing_currency,
        contract_terms.evidence,
        contract_terms.unit_price,
        contract_terms.discount_share,
        contract_terms.context_over_tokens,
        contract_terms.context_up_to_tokens,
        contract_terms.week_minute_from,
        contract_terms.week_minute_to,
        contract_terms.valid_from_at,
        contract_terms.valid_to_at,
        case when contract_terms.model_pattern = '*' then 2 else 1 end as model_rank,
        case when contract_terms.service_tier is null then 2 else 1 end as tier_rank,
        case when contract_terms.region_id is null then 2 else 1 end as region_rank,
        case when contract_terms.term_type = 'unit_price' then 1 else 2 end as type_rank
    from pattern_matches
    inner join contract_terms
        on
            pattern_matches.provider_name = contract_terms.provider_name
            and pattern_matches.model_pattern = lower(contract_terms.model_pattern)
            and (contract_terms.service_tier is null or pattern_matches.service_tier = contract_terms.service_tier)
            and {{ region_covers('lower(contract_terms.region_id)', 'pattern_matches.region_key') }}
),

-- What a region and a tier do to the list prices of tokens.
group_multipliers as (
    {% for is_stated in [false, true] -%}
    {%- set groups = 'pattern_matches' if is_stated else 'groups' -%}
    select
        {% for column in group_columns -%}
        {{ groups }}.{{ column }},
        {% endfor -%}
        multipliers.multiplier_id,
        multipliers.multiplier,
        multipliers.source_rank,
        multipliers.valid_from_at,
        multipliers.valid_to_at,
        case when multipliers.region_id is null then 'tier' else 'region' end as multiplier_type,
        case when multipliers.service_tier is null then 2 else 1 end as tier_rank,
        length(coalesce(multipliers.region_id, '')) as region_length
    from {{ groups }}
    {% if is_stated -%}
    inner join multipliers
        on
            multipliers.model_like is not null
            and pattern_matches.provider_name = multipliers.provider_name
            and pattern_matches.model_pattern = lower(multipliers.model_id)
    {% else -%}
    inner join matches
        on
            groups.reported_provider_name = matches.reported_provider_name
            and groups.reported_model_name = matches.reported_model_name
    inner join multipliers
        on
            matches.source_name = multipliers.source_name
            and matches.rate_provider_name = multipliers.provider_name
            and matches.model_id = multipliers.model_id
            and multipliers.model_like is null
    {% endif -%}
    where
        (multipliers.service_tier is null or {{ groups }}.service_tier = multipliers.service_tier)
        and {{ region_covers('multipliers.region_id', groups ~ '.region_key') }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

group_exchange_rates as (
    select distinct
        {% for column in group_columns -%}
        currencies.{{ column }},
        {% endfor -%}
        exchange_rates.valid_from_at,
        exchange_rates.valid_to_at
    from (
        select
            {{ group_list }},
            pricing_currency
        from group_rates
        union
        select
            {{ group_list }},
            pricing_currency
        from group_terms
    ) as currencies
    inner join exchange_rates on currencies.pricing_currency = exchange_rates.pricing_currency
),

-- Between two neighbouring boundaries no price changes.
boundaries as (
    {% for relation in ['group_rates', 'group_terms', 'group_multipliers', 'group_exchange_rates'] -%}
    {% for boundary in ['valid_from_at', 'valid_to_at'] -%}
    select
        {{ group_list }},
        {{ boundary }} as boundary_at
    from {{ relation }}
    {{ 'union' if not loop.last }}
    {% endfor %}
    {{ 'union' if not loop.last }}
    {% endfor %}
),

segments as (
    select
        {{ group_list }},
        boundary_at as valid_from_at,
        lead(boundary_at) over (
            partition by {{ group_list }}
            order by boundary_at
        ) as valid_to_at
    from boundaries
),

thresholds as (
    {% for relation in ['group_rates', 'group_terms'] -%}
    select
        {{ group_list }},
        context_over_tokens
    from {{ relation }}
    union
    select
        {{ group_list }},
        context_up_to_tokens as context_over_tokens
    from {{ relation }}
    where context_up_to_tokens is not null
    {{ 'union' if not loop.last }}
    {% endfor %}
    union
    select
        {{ group_list }},
        cast(-1 as bigint) as context_over_tokens
    from groups
),

bands as (
    select
        *,
        coalesce(
            lead(context_over_tokens) over (
                partition by {{ group_list }}
                order by context_over_tokens
            ),
            9223372036854775807
        ) as context_up_to_tokens
    from thresholds
),

week_minutes as (
    {% for relation in ['group_rates', 'group_terms'] -%}
    {% for minute in ['week_minute_from', 'week_minute_to'] -%}
    select
        {{ group_list }},
        {{ minute }} as week_minute
    from {{ relation }}
    {{ 'union' if not loop.last }}
    {% endfor %}
    {{ 'union' if not loop.last }}
    {% endfor %}
    union
    select
        {{ group_list }},
        cast(0 as integer) as week_minute
    from groups
),

windows as (
    select
        {{ group_list }},
        week_minute as week_minute_from,
        coalesce(
            lead(week_minute) over (
                partition by {{ group_list }}
                order by week_minute
            ),
            10080
        ) as week_minute_to
    from week_minutes
    where week_minute < 10080
),

-- The first catalogue that lists the model in its tier, or else in the standard one, supplies the prices.
chosen_catalogues as (
    select
        {% for column in group_columns -%}
        segments.{{ column }},
        {% endfor -%}
        segments.valid_from_at,
        mod(min(group_rates.tier_rank * 10000 + group_rates.source_rank), 10000) as source_rank
    from segments
    inner join group_rates
        on
            {{ same_group('segments', 'group_rates') }}
            and {{ holds_at('group_rates', 'segments') }}
            and group_rates.source_rank > 0
    group by
        {% for column in group_columns -%}
        segments.{{ column }},
        {% endfor -%}
        segments.valid_from_at
),

cells as (
    select
        segments.*,
        bands.context_over_tokens,
        bands.context_up_to_tokens,
        windows.week_minute_from,
        windows.week_minute_to,
        chosen_catalogues.source_rank as catalogue_rank
    from segments
    inner join bands on {{ same_group('segments', 'bands') }}
    inner join windows on {{ same_group('segments', 'windows') }}
    left join chosen_catalogues
        on
            {{ same_group('segments', 'chosen_catalogues') }}
            and segments.valid_from_at = chosen_catalogues.valid_from_at
    where segments.valid_to_at is not null
),

-- The kind's own price goes before one that stands in, then the call's tier before the standard one; reasoning is
-- output, so there the tier goes first. The nearest region, the narrowest window and the highest threshold win.
list_candidates as (
    select
        cells.*,
        price_kinds.unit_kind,
        price_kinds.price_kind,
        price_kinds.is_token,
        group_rates.rate_id,
        group_rates.source_name as rate_source_name,
        group_rates.rate_service_tier,
        group_rates.rate_region_id,
        group_rates.pricing_currency,
        group_rates.evidence,
        group_rates.unit_price,
        group_rates.context_over_tokens as rate_context_over_tokens,
        group_rates.context_up_to_tokens as rate_context_up_to_tokens,
        group_rates.week_minute_from as rate_week_minute_from,
        group_rates.week_minute_to as rate_week_minute_to,
        group_rates.is_threshold_inclusive,
        price_kinds.kind_rank > 1 or group_rates.tier_rank > 1 as is_price_fallback,
        row_number() over (
            partition by
                {% for column in group_columns -%}
                cells.{{ column }},
                {% endfor -%}
                cells.valid_from_at, cells.context_over_tokens, cells.week_minute_from, price_kinds.unit_kind
            order by
                case when price_kinds.unit_kind = 'reasoning' then group_rates.tier_rank else 1 end asc,
                price_kinds.kind_rank asc, group_rates.tier_rank asc, group_rates.source_rank asc,
                length(coalesce(group_rates.rate_region_id, '')) desc,
                group_rates.week_minute_to - group_rates.week_minute_from asc,
                group_rates.context_over_tokens desc, group_rates.valid_from_at desc, group_rates.rate_id asc
        ) as candidate_rank
    from cells
    inner join group_rates
        on
            {{ same_group('cells', 'group_rates') }}
            and (group_rates.source_rank = 0 or cells.catalogue_rank = group_rates.source_rank)
            and {{ holds_in_cell('group_rates', 'cells') }}
    inner join price_kinds on group_rates.unit_kind = price_kinds.price_kind
),

cell_multipliers as (
    select
        *,
        row_number() over (
            partition by {{ group_list }}, valid_from_at, multiplier_type
            order by source_rank asc, tier_rank asc, region_length desc, multiplier_id asc
        ) as multiplier_rank
    from (
        select
            {% for column in group_columns -%}
            segments.{{ column }},
            {% endfor -%}
            segments.valid_from_at,
            group_multipliers.multiplier_id,
            group_multipliers.multiplier_type,
            group_multipliers.multiplier,
            group_multipliers.source_rank,
            group_multipliers.tier_rank,
            group_multipliers.region_length
        from segments
        inner join group_multipliers
            on
                {{ same_group('segments', 'group_multipliers') }}
                and {{ holds_at('group_multipliers', 'segments') }}
    ) as held
),

segment_multipliers as (
    select
        {{ group_list }},
        valid_from_at,
        coalesce(max(case when multiplier_type = 'region' then multiplier end), 1) as region_multiplier,
        coalesce(max(case when multiplier_type = 'tier' then multiplier end), 1) as tier_multiplier
    from cell_multipliers
    where multiplier_rank = 1
    group by {{ group_list }}, valid_from_at
),

list_prices as (
    select
        list_candidates.*,
        cast(
            case when list_candidates.pricing_currency = 'USD' then 1 else exchange_rates.usd_per_currency_unit end
            as decimal(18, 12)
        ) as usd_per_currency_unit,
        cast(
            case when list_candidates.is_token then coalesce(segment_multipliers.region_multiplier, 1) else 1 end
            as decimal(9, 6)
        ) as region_multiplier,
        cast(
            case when list_candidates.is_token then coalesce(segment_multipliers.tier_multiplier, 1) else 1 end
            as decimal(9, 6)
        ) as tier_multiplier
    from list_candidates
    left join exchange_rates
        on
            list_candidates.pricing_currency = exchange_rates.pricing_currency
            and {{ holds_at('exchange_rates', 'list_candidates') }}
    left join segment_multipliers
        on
            {{ same_group('list_candidates', 'segment_multipliers') }}
            and list_candidates.valid_from_at = segment_multipliers.valid_from_at
    where list_candidates.candidate_rank = 1
),

-- Kinds with a list price, and those for which only a contract states one.
priced_kinds as (
    select
        {{ group_list }},
        valid_from_at,
        context_over_tokens,
        week_minute_from,
        unit_kind
    from list_prices
    union
    select
        {% for column in group_columns -%}
        cells.{{ column }},
        {% endfor -%}
        cells.valid_from_at,
        cells.context_over_tokens,
        cells.week_minute_from,
        price_kinds.unit_kind
    from cells
    inner join group_terms
        on
            {{ same_group('cells', 'group_terms') }}
            and {{ holds_at('group_terms', 'cells') }}
    inner join price_kinds on group_terms.unit_kind = price_kinds.price_kind
    where group_terms.term_type = 'unit_price'
),

kind_cells as (
    select
        cells.*,
        priced_kinds.unit_kind
    from cells
    inner join priced_kinds
        on
            {{ same_group('cells', 'priced_kinds') }}
            and cells.valid_from_at = priced_kinds.valid_from_at
            and cells.context_over_tokens = priced_kinds.context_over_tokens
            and cells.week_minute_from = priced_kinds.week_minute_from
),

listed as (
    select
        {% for column in group_columns -%}
        kind_cells.{{ column }},
        {% endfor -%}
        kind_cells.valid_from_at,
        kind_cells.valid_to_at,
        kind_cells.context_over_tokens,
        kind_cells.context_up_to_tokens,
        kind_cells.week_minute_from,
        kind_cells.week_minute_to,
        kind_cells.unit_kind,
        list_prices.price_kind,
        list_prices.rate_id,
        list_prices.rate_source_name,
        list_prices.rate_service_tier,
        list_prices.rate_region_id,
        list_prices.pricing_currency,
        list_prices.evidence,
        list_prices.unit_price,
        list_prices.usd_per_currency_unit,
        list_prices.region_multiplier,
        list_prices.tier_multiplier,
        list_prices.rate_context_over_tokens,
        list_prices.rate_context_up_to_tokens,
        list_prices.rate_week_minute_from,
        list_prices.rate_week_minute_to,
        list_prices.is_threshold_inclusive,
        coalesce(list_prices.is_price_fallback, false) as is_price_fallback,
        cast(
            cast(
                cast(list_prices.unit_price * list_prices.region_multiplier as decimal(24, 18))
                * list_prices.tier_multiplier as decimal(24, 18)
            ) * list_prices.usd_per_currency_unit as decimal(18, 15)
        ) as list_usd_per_unit
    from kind_cells
    left join list_prices
        on
            {{ same_group('kind_cells', 'list_prices') }}
            and kind_cells.valid_from_at = list_prices.valid_from_at
            and kind_cells.context_over_tokens = list_prices.context_over_tokens
            and kind_cells.week_minute_from = list_prices.week_minute_from
            and kind_cells.unit_kind = list_prices.unit_kind
),

-- The nearest term wins: of the model, tier, region and kind, then a price before a percentage, then the latest.
term_candidates as (
    select
        listed.*,
        group_terms.contract_id,
        group_terms.term_type,
        group_terms.unit_price as term_unit_price,
        group_terms.pricing_currency as term_pricing_currency,
        group_terms.discount_share,
        group_terms.evidence as term_evidence,
        group_terms.context_over_tokens as term_context_over_tokens,
        group_terms.context_up_to_tokens as term_context_up_to_tokens,
        group_terms.week_minute_from as term_week_minute_from,
        group_terms.week_minute_to as term_week_minute_to,
        cast(
            case
                when group_terms.term_type <> 'unit_price' then null
                when group_terms.pricing_currency = 'USD' then 1
                else exchange_rates.usd_per_currency_unit
            end as decimal(18, 12)
        ) as term_usd_per_currency_unit,
        row_number() over (
            partition by
                {% for column in group_columns -%}
                listed.{{ column }},
                {% endfor -%}
                listed.valid_from_at, listed.context_over_tokens, listed.week_minute_from, listed.unit_kind
            order by
                group_terms.model_rank asc,
                group_terms.tier_rank asc,
                group_terms.region_rank asc,
                coalesce(price_kinds.kind_rank, 9) asc,
                group_terms.type_rank asc,
                group_terms.week_minute_to - group_terms.week_minute_from asc,
                group_terms.context_over_tokens desc,
                group_terms.valid_from_at desc,
                group_terms.contract_id asc,
                group_terms.unit_price asc,
                group_terms.discount_share desc
        ) as candidate_rank
    from listed
    left join group_terms
        on
            {{ same_group('listed', 'group_terms') }}
            and group_terms.term_type in ('unit_price', 'percentage_discount')
            and {{ holds_in_cell('group_terms', 'listed') }}
            and (
                group_terms.unit_kind is null
                or group_terms.unit_kind in (listed.unit_kind, listed.price_kind)
                or listed.list_usd_per_unit is null
            )
            and (group_terms.term_type = 'unit_price' or listed.list_usd_per_unit is not null)
    left join price_kinds
        on
            listed.unit_kind = price_kinds.unit_kind
            and group_terms.unit_kind = price_kinds.price_kind
    left join exchange_rates
        on
            group_terms.pricing_currency = exchange_rates.pricing_currency
            and {{ holds_at('exchange_rates', 'listed') }}
    where
        group_terms.unit_kind is null
        or price_kinds.price_kind is not null
),

spend_discounts as (
    select
        {% for column in group_columns -%}
        segments.{{ column }},
        {% endfor -%}
        segments.valid_from_at,
        group_terms.contract_id as spend_contract_id,
        group_terms.discount_share as spend_discount_share,
        row_number() over (
            partition by
                {% for column in group_columns -%}
                segments.{{ column }},
                {% endfor -%}
                segments.valid_from_at
            order by group_terms.valid_from_at desc, group_terms.contract_id asc, group_terms.discount_share desc
        ) as discount_rank
    from segments
    inner join group_terms
        on
            {{ same_group('segments', 'group_terms') }}
            and group_terms.term_type = 'spend_discount'
            and {{ holds_at('group_terms', 'segments') }}
),

contracted as (
    select
        term_candidates.*,
        spend_discounts.spend_contract_id,
        spend_discounts.spend_discount_share,
        cast(
            cast(
                case
                    when term_candidates.term_type = 'unit_price'
                        then term_candidates.term_unit_price * term_candidates.term_usd_per_currency_unit
                    else term_candidates.list_usd_per_unit * (1 - coalesce(term_candidates.discount_share, 0))
                end as decimal(24, 18)
            ) * (1 - coalesce(spend_discounts.spend_discount_share, 0)) as decimal(18, 15)
        ) as contracted_usd_per_unit
    from term_candidates
    left join spend_discounts
        on
            {{ same_group('term_candidates', 'spend_discounts') }}
            and term_candidates.valid_from_at = spend_discounts.valid_from_at
            and spend_discounts.discount_rank = 1
    where term_candidates.candidate_rank = 1
),

final as (
    select
        reported_provider_name,
        reported_model_name,
        service_tier,
        region_key,
        unit_kind,
        price_kind,
        rate_id,
        rate_source_name,
        rate_service_tier,
        rate_region_id,
        pricing_currency,
        evidence,
        contract_id,
        term_type,
        term_pricing_currency,
        term_evidence,
        spend_contract_id,
        context_over_tokens,
        context_up_to_tokens,
        week_minute_from,
        week_minute_to,
        rate_context_over_tokens,
        rate_context_up_to_tokens,
        rate_week_minute_from,
        rate_week_minute_to,
        term_context_over_tokens,
        term_context_up_to_tokens,
        term_week_minute_from,
        term_week_minute_to,
        unit_price,
        usd_per_currency_unit,
        region_multiplier,
        tier_multiplier,
        list_usd_per_unit,
        term_unit_price,
        term_usd_per_currency_unit,
        discount_share,
        spend_discount_share,
        contracted_usd_per_unit,
        is_threshold_inclusive,
        is_price_fallback,
        valid_from_at,
        valid_to_at
    from contracted
)

select * from final
