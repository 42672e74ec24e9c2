with

source as (
    select * from {{ source('raw', 'raw_genai_prices__rates') }}
),

final as (
    select
        {{ catalogue_rate_columns() }},
        coalesce(valid_from, {{ beginning_of_time() }}) as valid_from_at,
        coalesce(valid_to, {{ end_of_time() }}) as valid_to_at,
        known_from as known_from_at
    from source
)

select * from final
