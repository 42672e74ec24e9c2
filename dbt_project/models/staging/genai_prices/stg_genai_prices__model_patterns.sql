with

source as (
    select * from {{ source('raw', 'raw_genai_prices__model_patterns') }}
),

final as (
    select
        source_name,
        provider_name,
        rate_provider_name,
        model_id,
        pattern_group,
        regex,
        priority as pattern_priority,
        is_negated
    from source
)

select * from final
