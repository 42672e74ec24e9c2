{{ config(materialized='view') }}

with

reported as (
    select * from {{ ref('int_usage__calls_reported') }}
),

redelivered as (
    select * from {{ ref('int_usage__calls_redelivered') }}
),

deliveries as (
    select * from {{ ref('int_usage__deliveries_ranked') }}
),

-- A join, because engines turn `not exists` into a pass of its own over all calls.
delivered_once as (
    select reported.{{ usage_columns() | join(', reported.') }}
    from reported
    left join redelivered
        on
            reported.source_name = redelivered.source_name
            and reported.call_id = redelivered.call_id
            and reported.event_date = redelivered.event_date
    where
        reported.reject_reason is null
        and redelivered.call_id is null
),

final as (
    select * from delivered_once
    union all
    select {{ usage_columns() | join(', ') }}
    from deliveries
    where delivery_rank = 1
)

select * from final
