with

source as (
    select * from {{ source('raw', 'raw_genai_prices__rates') }}
),

final as (
    select
        source_name,
        provider_name,
        model_id,
        service_tier,
        cast(null as varchar) as region_id,
        unit_kind,
        'USD' as pricing_currency,
        pricing_unit,
        evidence_url as evidence,
        usd_per_unit as unit_price,
        -- -1 stands below every count: the base price holds for an empty input too.
        case
            when coalesce(context_over_tokens, 0) = 0 then -1
            else context_over_tokens
        end as context_over_tokens,
        context_up_to_tokens,
        0 as week_minute_from,
        10080 as week_minute_to,
        false as is_threshold_inclusive,
        coalesce(valid_from, cast('1970-01-01' as timestamp with time zone)) as valid_from_at,
        coalesce(valid_to, cast('9999-12-31' as timestamp with time zone)) as valid_to_at,
        known_from as known_from_at
    from source
    -- A price of part of the day is no price of the whole day.
    where off_peak_start_utc is null
)

select * from final
