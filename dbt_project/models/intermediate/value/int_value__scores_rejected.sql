{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

judged as (
    select * from {{ ref('int_value__scores_judged') }}
),

final as (
    select
        source_name,
        kpi_name,
        use_case_id,
        use_case_instance_id,
        reject_reason,
        input_uri,
        raw_content,
        record_index,
        scored_at,
        landed_at,
        event_date
    from judged
    where
        {{ in_window('event_date') }}
        and reject_reason is not null
)

select * from final
