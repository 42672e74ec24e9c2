with

source as (
    select * from {{ source('raw', 'raw_contract_files__terms') }}
),

final as (
    select
        source_name,
        contract_id,
        provider_name,
        model_pattern,
        replace(
            replace(replace(replace(lower(model_pattern), '!', '!!'), '_', '!_'), '%', '!%'),
            '*',
            '%'
        ) as model_like,
        term_type,
        unit_kind,
        service_tier,
        evidence,
        usd_per_unit,
        discount_share,
        is_list,
        cast(valid_from as timestamp with time zone) as valid_from_at,
        coalesce(cast(valid_to as timestamp with time zone), cast('9999-12-31' as timestamp with time zone))
            as valid_to_at,
        cast(signed_on as timestamp with time zone) as known_from_at
    from source
)

select * from final
