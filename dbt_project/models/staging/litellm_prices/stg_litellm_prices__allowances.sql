with

source as (
    select * from {{ source('raw', 'raw_litellm_prices__allowances') }}
),

-- A version that lists the model, with or without allowances, ends what the version before says of it.
listed as (
    select
        source_name,
        provider_name,
        model_id,
        valid_from
    from {{ source('raw', 'raw_litellm_prices__rates') }}
    union
    select
        source_name,
        provider_name,
        model_id,
        valid_from
    from source
),

versions as (
    {{ model_versions('listed') }}
),

final as (
    select
        source.source_name,
        source.provider_name,
        source.model_id,
        source.allowance_group,
        source.unit_kind,
        source.period_type,
        source.price_key,
        source.evidence_url as evidence,
        source.allowance_units,
        versions.valid_from_at,
        versions.superseded_at as valid_to_at,
        source.known_from as known_from_at
    from source
    inner join versions
        on
            source.source_name = versions.source_name
            and source.provider_name = versions.provider_name
            and source.model_id = versions.model_id
            and coalesce(source.valid_from, {{ beginning_of_time() }}) = versions.valid_from_at
)

select * from final
