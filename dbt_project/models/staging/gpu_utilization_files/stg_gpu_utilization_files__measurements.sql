{{ config(day_column='event_date') }}

with

source as (
    select * from {{ source('raw', 'raw_gpu_utilization_files__measurements') }}
),

-- A share is kept in whole millionths: sums of whole numbers do not depend on the order of the rows.
read as (
    select
        source_name,
        deployment_id,
        instance_id,
        input_uri,
        record_index,
        coalesce(utilization_share, utilization_percent / 100) as utilization_share,
        measured_at,
        landed_at,
        event_date
    from source
),

ranked as (
    select
        *,
        row_number() over (
            partition by event_date, deployment_id, instance_id, measured_at
            order by {{ delivery_order() }}, source_name asc
        ) as delivery_rank
    from read
),

final as (
    select
        source_name,
        deployment_id,
        instance_id,
        case
            when not coalesce(utilization_share between 0 and 1, false) then 'utilization_out_of_range'
            when delivery_rank > 1 then 'superseded_by_later_delivery'
        end as reject_reason,
        input_uri,
        record_index,
        utilization_share,
        cast(round(utilization_share * 1000000) as bigint) as utilization_millionths,
        measured_at,
        landed_at,
        event_date
    from ranked
)

select * from final
