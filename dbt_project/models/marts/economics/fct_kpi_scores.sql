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
        concat(source_name, ':', input_uri, ':', record_index) as kpi_score_id,
        kpi_name,
        use_case_id,
        use_case_version,
        use_case_instance_id,
        kpi_type,
        unit as unit_name,
        provenance_type,
        cast(score as decimal(18, 6)) as score,
        is_outcome,
        scored_at,
        event_date
    from judged
    where
        {{ in_window('event_date') }}
        and reject_reason is null
)

select * from final
