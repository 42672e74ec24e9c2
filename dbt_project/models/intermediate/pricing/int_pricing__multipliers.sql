with

provider_aliases as (
    select * from {{ ref('seed_provider_aliases') }}
),

catalogue_multipliers as (
    {%- for model in var('multiplier_models') %}
    select
        source_name,
        provider_name,
        model_id,
        region_id,
        evidence,
        multiplier,
        valid_from_at,
        valid_to_at
    from {{ ref(model) }}
    {{ 'union all' if not loop.last }}
    {%- else %}
    select
        source_name,
        provider_name,
        model_pattern as model_id,
        region_id,
        evidence,
        multiplier,
        valid_from_at,
        valid_to_at
    from {{ ref('stg_contract_files__terms') }}
    where 1 = 0
    {%- endfor %}
),

unioned as (
    select
        catalogue_multipliers.source_name,
        coalesce(provider_aliases.provider_name, lower(catalogue_multipliers.provider_name)) as provider_name,
        catalogue_multipliers.model_id,
        cast(null as varchar) as model_like,
        cast(null as varchar) as service_tier,
        lower(catalogue_multipliers.region_id) as region_id,
        catalogue_multipliers.evidence,
        catalogue_multipliers.multiplier,
        catalogue_multipliers.valid_from_at,
        catalogue_multipliers.valid_to_at
    from catalogue_multipliers
    left join provider_aliases
        on lower(catalogue_multipliers.provider_name) = provider_aliases.reported_provider_name
    union all
    select
        source_name,
        provider_name,
        model_pattern as model_id,
        model_like,
        service_tier,
        region_id,
        evidence,
        multiplier,
        valid_from_at,
        valid_to_at
    from {{ ref('stg_contract_files__terms') }}
    where term_type = 'multiplier'
),

-- A multiplier ends where the next one of the same key begins.
closed as (
    select
        *,
        least(
            valid_to_at,
            coalesce(
                lead(valid_from_at) over (
                    partition by source_name, provider_name, model_id, service_tier, region_id
                    order by valid_from_at, multiplier
                ),
                cast('9999-12-31' as timestamp with time zone)
            )
        ) as closed_valid_to_at
    from unioned
),

final as (
    select
        {{ content_hash([
            'source_name', 'provider_name', 'model_id', 'service_tier', 'region_id', 'valid_from_at',
        ]) }} as multiplier_id,
        source_name,
        provider_name,
        model_id,
        model_like,
        service_tier,
        region_id,
        evidence,
        multiplier,
        {{ precedence_of('source_name') }} as source_rank,
        valid_from_at,
        closed_valid_to_at as valid_to_at
    from closed
    where closed_valid_to_at > valid_from_at
)

select * from final
