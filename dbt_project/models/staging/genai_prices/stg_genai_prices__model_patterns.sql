with

source as (
    select * from {{ source('raw', 'raw_genai_prices__model_patterns') }}
),

-- Each version of the package states every pattern anew: the latest is what is known now.
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
        source.rate_provider_name,
        source.model_id,
        source.pattern_group,
        source.regex,
        source.priority as pattern_priority,
        source.is_negated
    from source
    inner join latest
        on
            source.source_name = latest.source_name
            and source.known_from = latest.known_from
)

select * from final
