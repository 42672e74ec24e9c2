{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

reported as (
    select * from {{ ref('int_usage__calls_reported') }}
),

final as (
    select
        source_name,
        call_id,
        event_date,
        count(*) as delivery_count
    from reported
    where
        {{ in_window('event_date') }}
        and reject_reason is null
    group by source_name, call_id, event_date
    having count(*) > 1
)

select * from final
