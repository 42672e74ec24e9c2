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

deliveries as (
    select * from {{ ref('int_usage__deliveries_ranked') }}
),

unacceptable as (
    select
        source_name,
        call_id,
        reject_reason,
        input_uri,
        raw_content,
        record_index,
        reported_input_tokens,
        reported_output_tokens,
        called_at,
        landed_at,
        event_date
    from reported
    where
        {{ in_window('event_date') }}
        and reject_reason is not null
),

outranked as (
    select
        source_name,
        call_id,
        case
            when content_hash = winning_content_hash then 'delivered_again'
            else 'superseded_by_later_delivery'
        end as reject_reason,
        input_uri,
        raw_content,
        record_index,
        reported_input_tokens,
        reported_output_tokens,
        called_at,
        landed_at,
        event_date
    from deliveries
    where
        {{ in_window('event_date') }}
        and delivery_rank > 1
),

final as (
    select * from unacceptable
    union all
    select * from outranked
)

select * from final
