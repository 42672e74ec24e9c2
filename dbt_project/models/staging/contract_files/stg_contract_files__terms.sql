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
        {{ like_of('model_pattern') }} as model_like,
        term_type,
        unit_kind,
        service_tier,
        region_id,
        pricing_currency,
        period_type,
        allowance_group,
        evidence,
        unit_price,
        discount_share,
        multiplier,
        allowance_units,
        coalesce(context_over_tokens, -1) as context_over_tokens,
        context_up_to_tokens,
        coalesce(week_minute_from, 0) as week_minute_from,
        coalesce(week_minute_to, 10080) as week_minute_to,
        false as is_threshold_inclusive,
        is_list,
        cast(valid_from as timestamp with time zone) as valid_from_at,
        coalesce(cast(valid_to as timestamp with time zone), {{ end_of_time() }}) as valid_to_at,
        cast(signed_on as timestamp with time zone) as known_from_at
    from source
)

select * from final
