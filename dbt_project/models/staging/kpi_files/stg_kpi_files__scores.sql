{{ config(day_column='event_date') }}

with

source as (
    select * from {{ source('raw', 'raw_kpi_files__scores') }}
),

final as (
    select
        source_name,
        kpi_name,
        use_case_id,
        use_case_version,
        use_case_instance_id,
        provenance as provenance_type,
        input_uri,
        {{ json_object_of([
            'kpi_name', 'score', 'score_text', 'use_case_id', 'use_case_instance_id', 'scored_at', 'provenance',
        ]) }} as raw_content,
        record_index,
        cast(score as decimal(18, 6)) as score,
        score is null as is_score_missing,
        scored_at,
        landed_at,
        event_date
    from source
)

select * from final
