{{ config(day_column='event_date') }}

with

source as (
    {%- for kind in ['kpi_files', 'kpi_query', 'kpi_api', 'manual_scores'] %}
    select * from {{ source('raw', 'raw_' ~ kind ~ '__scores') }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
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
            'attributes_json',
        ]) }} as raw_content,
        record_index,
        try_cast(score as decimal(18, 6)) as score,
        score is null as is_score_missing,
        scored_at,
        landed_at,
        event_date
    from source
)

select * from final
