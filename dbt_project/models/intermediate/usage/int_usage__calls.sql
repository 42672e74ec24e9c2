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

delivered_once as (
    select {{ usage_columns() | join(', ') }}
    from reported
    where
        reject_reason is null
        and not exists (
            select 1
            from redelivered
            where
                redelivered.source_name = reported.source_name
                and redelivered.call_id = reported.call_id
                and redelivered.event_date = reported.event_date
        )
),

final as (
    select * from delivered_once
    union all
    select {{ usage_columns() | join(', ') }}
    from deliveries
    where delivery_rank = 1
)

select * from final
