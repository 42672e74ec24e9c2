{{ config(materialized='view') }}

with

scores as (
    select * from {{ ref('stg_kpi_files__scores') }}
),

kpis as (
    select * from {{ ref('seed_kpis') }}
),

ranked as (
    select
        *,
        row_number() over (
            partition by event_date, kpi_name, use_case_id, use_case_version, use_case_instance_id, scored_at
            order by {{ delivery_order() }}, source_name asc
        ) as delivery_rank
    from scores
),

final as (
    select
        ranked.source_name,
        ranked.kpi_name,
        ranked.use_case_id,
        ranked.use_case_version,
        ranked.use_case_instance_id,
        ranked.provenance_type,
        ranked.input_uri,
        ranked.raw_content,
        ranked.record_index,
        ranked.score,
        ranked.is_score_missing,
        ranked.scored_at,
        ranked.landed_at,
        ranked.event_date,
        ranked.delivery_rank,
        kpis.kpi_type,
        kpis.unit,
        coalesce(kpis.is_outcome, false) as is_outcome,
        case
            when kpis.kpi_name is null then 'unknown_kpi'
            when ranked.is_score_missing then 'missing_score'
            when ranked.score is null then 'score_outside_scale'
            when kpis.kpi_type = 'boolean' and ranked.score not in (0, 1) then 'score_outside_scale'
            when
                (kpis.kpi_type = 'percentage' or kpis.unit = 'share') and not ranked.score between 0 and 1
                then 'score_outside_scale'
            when kpis.kpi_type like 'likert%' and ranked.score < 1 then 'score_outside_scale'
            when kpis.kpi_type = 'likert5' and ranked.score > 5 then 'score_outside_scale'
            when kpis.kpi_type = 'likert7' and ranked.score > 7 then 'score_outside_scale'
            when kpis.kpi_type = 'likert10' and ranked.score > 10 then 'score_outside_scale'
            when ranked.scored_at > ranked.landed_at + interval '5 minutes' then 'scored_in_the_future'
            when ranked.delivery_rank > 1 then 'delivered_again'
        end as reject_reason
    from ranked
    left join kpis
        on
            ranked.kpi_name = kpis.kpi_name
            and ranked.use_case_id = kpis.use_case_id
)

select * from final
