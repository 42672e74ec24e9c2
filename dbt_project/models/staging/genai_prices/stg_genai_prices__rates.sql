with

source as (
    select * from {{ source('raw', 'raw_genai_prices__rates') }}
),

-- Each version of the package states every price anew: the latest is what is known now.
latest as (
    select
        source_name,
        max(known_from) as known_from
    from source
    group by source_name
),

final as (
    select
        source.source_name,
        source.provider_name,
        source.model_id,
        source.service_tier,
        cast(null as varchar) as region_id,
        source.unit_kind,
        'USD' as pricing_currency,
        source.pricing_unit,
        source.evidence_url as evidence,
        source.usd_per_unit as unit_price,
        -- -1 stands below every count: the base price holds for an empty input too.
        case
            when coalesce(source.context_over_tokens, 0) = 0 then -1
            else source.context_over_tokens
        end as context_over_tokens,
        source.context_up_to_tokens,
        0 as week_minute_from,
        10080 as week_minute_to,
        false as is_threshold_inclusive,
        coalesce(source.valid_from, cast('1970-01-01' as timestamp with time zone)) as valid_from_at,
        coalesce(source.valid_to, cast('9999-12-31' as timestamp with time zone)) as valid_to_at,
        source.known_from as known_from_at
    from source
    inner join latest
        on
            source.source_name = latest.source_name
            and source.known_from = latest.known_from
    -- A price of part of the day is no price of the whole day.
    where source.off_peak_start_utc is null
)

select * from final
