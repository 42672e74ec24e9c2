with

catalogue_rates as (
    {%- for model in var('rate_models') %}
    select
        source_name,
        provider_name,
        model_id,
        service_tier,
        unit_kind,
        evidence,
        unit_price as usd_per_unit,
        context_over_tokens,
        context_up_to_tokens,
        2 as source_rank,
        valid_from_at,
        valid_to_at,
        known_from_at
    from {{ ref(model) }}
    where {{ is_everywhere_and_always_in_usd() }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- A company's own statement of a list price goes before a public catalogue.
stated_rates as (
    select
        source_name,
        provider_name,
        model_pattern as model_id,
        coalesce(service_tier, 'standard') as service_tier,
        unit_kind,
        evidence,
        unit_price as usd_per_unit,
        context_over_tokens,
        context_up_to_tokens,
        1 as source_rank,
        valid_from_at,
        valid_to_at,
        known_from_at
    from {{ ref('stg_contract_files__terms') }}
    where
        is_list
        and term_type = 'unit_price'
        and {{ is_everywhere_and_always_in_usd() }}
),

unioned as (
    select * from stated_rates
    union all
    select * from catalogue_rates
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
                        source_name, provider_name, model_id, service_tier, unit_kind, context_over_tokens
                    order by valid_from_at, known_from_at, usd_per_unit, evidence
                ),
                cast('9999-12-31' as timestamp with time zone)
            )
        ) as closed_valid_to_at
    from unioned
),

final as (
    select
        md5(concat_ws(
            '|', source_name, provider_name, model_id, service_tier, unit_kind, context_over_tokens, valid_from_at
        )) as rate_id,
        source_name,
        provider_name,
        model_id,
        service_tier,
        unit_kind,
        evidence,
        usd_per_unit,
        context_over_tokens,
        context_up_to_tokens,
        source_rank,
        valid_from_at,
        closed_valid_to_at as valid_to_at,
        known_from_at
    from closed
    where closed_valid_to_at > valid_from_at
)

select * from final
