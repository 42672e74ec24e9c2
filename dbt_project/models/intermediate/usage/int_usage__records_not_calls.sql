{{ config(materialized='view') }}

with

records as (
    {%- for model in var('usage_models') %}
    select
        source_name,
        event_date
    from {{ ref(model) }}
    where not is_usage_record
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

final as (
    select
        source_name,
        event_date,
        count(*) as record_count
    from records
    group by source_name, event_date
)

select * from final
