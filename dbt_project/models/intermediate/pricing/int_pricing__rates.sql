with

provider_aliases as (
    select * from {{ ref('seed_provider_aliases') }}
),

catalogue_rates as (
    {%- for model in var('rate_models') %}
    select
        source_name,
        provider_name,
        model_id,
        service_tier,
        region_id,
        unit_kind,
        pricing_currency,
        evidence,
        unit_price,
        context_over_tokens,
        context_up_to_tokens,
        week_minute_from,
        week_minute_to,
        is_threshold_inclusive,
        valid_from_at,
        valid_to_at,
        known_from_at
    from {{ ref(model) }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

ranked_rates as (
    select
        catalogue_rates.source_name,
        coalesce(provider_aliases.provider_name, lower(catalogue_rates.provider_name)) as provider_name,
        catalogue_rates.model_id,
        cast(null as varchar) as model_like,
        catalogue_rates.service_tier,
        lower(catalogue_rates.region_id) as region_id,
        catalogue_rates.unit_kind,
        catalogue_rates.pricing_currency,
        catalogue_rates.evidence,
        catalogue_rates.unit_price,
        catalogue_rates.context_over_tokens,
        catalogue_rates.context_up_to_tokens,
        catalogue_rates.week_minute_from,
        catalogue_rates.week_minute_to,
        {{ precedence_of('catalogue_rates.source_name') }} as source_rank,
        catalogue_rates.is_threshold_inclusive,
        catalogue_rates.valid_from_at,
        catalogue_rates.valid_to_at,
        catalogue_rates.known_from_at
    from catalogue_rates
    left join provider_aliases on lower(catalogue_rates.provider_name) = provider_aliases.reported_provider_name
),

-- A company's own statement of a list price goes before every public catalogue.
stated_rates as (
    select
        source_name,
        provider_name,
        model_pattern as model_id,
        model_like,
        coalesce(service_tier, 'standard') as service_tier,
        region_id,
        unit_kind,
        pricing_currency,
        evidence,
        unit_price,
        context_over_tokens,
        context_up_to_tokens,
        week_minute_from,
        week_minute_to,
        0 as source_rank,
        is_threshold_inclusive,
        valid_from_at,
        valid_to_at,
        known_from_at
    from {{ ref('stg_contract_files__terms') }}
    where
        is_list
        and term_type = 'unit_price'
),

unioned as (
    select * from stated_rates
    union all
    select * from ranked_rates
),

held as (
    select
        rate_key,
        valid_from_at as held_from_at,
        unit_price as held_unit_price,
        accepted_unit_price,
        accepted_evidence
    from {{ ref('int_pricing__rates_held') }}
),

keyed as (
    select
        *,
        {{ content_hash(rate_key_columns()) }} as rate_key
    from unioned
),

-- In place of a price that is held back, the one that was accepted before holds.
accepted as (
    select
        keyed.*,
        coalesce(held.accepted_unit_price, keyed.unit_price) as accepted_unit_price,
        case when held.rate_key is not null then held.accepted_evidence else keyed.evidence end as accepted_evidence,
        held.rate_key is not null as is_price_held
    from keyed
    left join held
        on
            keyed.rate_key = held.rate_key
            and keyed.valid_from_at = held.held_from_at
            and keyed.unit_price = held.held_unit_price
),

-- A rate ends where the next one of the same key begins; of two that begin together, the one known later holds.
closed as (
    select
        *,
        least(
            valid_to_at,
            coalesce(
                lead(valid_from_at) over (
                    partition by
                        source_name, provider_name, model_id, service_tier, region_id, unit_kind,
                        context_over_tokens, week_minute_from, week_minute_to
                    order by valid_from_at, known_from_at, unit_price, evidence
                ),
                cast('9999-12-31' as timestamp with time zone)
            )
        ) as closed_valid_to_at
    from accepted
),

final as (
    select
        {{ content_hash([
            'source_name', 'provider_name', 'model_id', 'service_tier', 'region_id', 'unit_kind',
            'context_over_tokens', 'week_minute_from', 'week_minute_to', 'valid_from_at',
        ]) }} as rate_id,
        source_name,
        provider_name,
        model_id,
        model_like,
        service_tier,
        region_id,
        unit_kind,
        pricing_currency,
        accepted_evidence as evidence,
        accepted_unit_price as unit_price,
        context_over_tokens,
        context_up_to_tokens,
        week_minute_from,
        week_minute_to,
        source_rank,
        is_threshold_inclusive,
        is_price_held,
        valid_from_at,
        closed_valid_to_at as valid_to_at,
        known_from_at
    from closed
    where closed_valid_to_at > valid_from_at
)

select * from final
