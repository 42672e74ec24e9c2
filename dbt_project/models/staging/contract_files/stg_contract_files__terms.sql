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
        cast(null as varchar) as region_id,
        'USD' as pricing_currency,
        evidence,
        usd_per_unit as unit_price,
        discount_share,
        cast(null as decimal(9, 6)) as multiplier,
        cast(-1 as bigint) as context_over_tokens,
        cast(null as bigint) as context_up_to_tokens,
        0 as week_minute_from,
        10080 as week_minute_to,
        false as is_threshold_inclusive,
        is_list,
        cast(valid_from as timestamp with time zone) as valid_from_at,
        coalesce(cast(valid_to as timestamp with time zone), cast('9999-12-31' as timestamp with time zone))
            as valid_to_at,
        cast(signed_on as timestamp with time zone) as known_from_at
    from source
)

select * from final
