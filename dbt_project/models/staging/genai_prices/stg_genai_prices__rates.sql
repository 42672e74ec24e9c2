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
        unit_kind,
        pricing_unit,
        evidence_url,
        usd_per_unit,
        -- -1 stands below every count: the base price holds for an empty input too.
        case
            when coalesce(context_over_tokens, 0) = 0 then -1
            else context_over_tokens
        end as context_over_tokens,
        context_up_to_tokens,
        coalesce(valid_from, cast('1970-01-01' as timestamp with time zone)) as valid_from_at,
        coalesce(valid_to, cast('9999-12-31' as timestamp with time zone)) as valid_to_at,
        known_from as known_from_at
    from source
    -- A price of part of the day is no price of the whole day.
    where off_peak_start_utc is null
)

select * from final
