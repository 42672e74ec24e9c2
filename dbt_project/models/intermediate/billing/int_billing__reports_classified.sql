with

results as (
    select
        *,
        date_trunc('day', bucket_start_at) as day_at,
        {{ microseconds_between('bucket_start_at', 'bucket_end_at') }} as width_us,
        max(coalesce(modified_at, landed_at)) over (partition by source_name, input_uri) as delivered_at
    from {{ ref('int_billing__reports_delivered') }}
),

ordered as (
    select
        *,
        dense_rank() over (partition by source_name order by delivered_at asc, input_uri asc) as delivery_index
    from results
),

-- A bucket is stated anew as a whole. Hours and days of one day are the same use: the latest delivery says which count.
latest as (
    select
        *,
        max(delivery_index) over (
            partition by source_name, billing_account_id, endpoint_type, bucket_start_at, bucket_end_at
        ) as latest_delivery_index,
        first_value(width_us) over (
            partition by source_name, billing_account_id, endpoint_type, day_at
            order by delivery_index desc, width_us asc
        ) as latest_width_us
    from ordered
),

final as (
    select
        {{ report_columns() | reject('equalto', 'reject_reason') | join(',\n        ') }},
        case
            when delivery_index < latest_delivery_index then 'superseded_by_later_delivery'
            when width_us <> latest_width_us then 'superseded_by_other_bucket_width'
            else reject_reason
        end as reject_reason
    from latest
)

select * from final
