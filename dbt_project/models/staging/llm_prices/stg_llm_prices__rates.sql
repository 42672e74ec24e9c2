with

source as (
    select * from {{ source('raw', 'raw_llm_prices__rates') }}
),

-- Each version states a model's whole history anew: the latest one that lists the model is what is known of it.
latest as (
    select
        source_name,
        provider_name,
        model_id,
        max(known_from) as known_from
    from source
    group by source_name, provider_name, model_id
),

in_force as (
    select source.*
    from source
    inner join latest
        on
            source.source_name = latest.source_name
            and source.provider_name = latest.provider_name
            and source.model_id = latest.model_id
            and source.known_from = latest.known_from
),

final as (
    select
        {{ catalogue_rate_columns() }},
        coalesce(valid_from, {{ beginning_of_time() }}) as valid_from_at,
        coalesce(valid_to, {{ end_of_time() }}) as valid_to_at,
        known_from as known_from_at
    from in_force
)

select * from final
