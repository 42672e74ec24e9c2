with

read as (
    {%- for table in var('deployment_tables') %}
    select
        source_name,
        deployment_id,
        instance_id,
        commitment_id,
        provider_name,
        model_id,
        publisher_name,
        deployment_type,
        region_id,
        scope_id,
        spillover_deployment_id,
        input_uri,
        record_index,
        allocated_units,
        is_snapshot,
        starts_at,
        ends_at,
        observed_at,
        landed_at,
        event_date
    from {{ source('raw', table) }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

ranked as (
    select
        *,
        row_number() over (
            partition by source_name, deployment_id, instance_id, observed_at
            order by {{ delivery_order() }}
        ) as delivery_rank
    from read
),

-- Capacity is bought by the minute.
final as (
    select
        source_name,
        deployment_id,
        instance_id,
        commitment_id,
        provider_name,
        model_id,
        publisher_name,
        deployment_type,
        region_id,
        scope_id,
        spillover_deployment_id,
        case
            when coalesce(allocated_units, 0) < 0 then 'units_out_of_range'
            when ends_at <= starts_at then 'ends_before_it_starts'
            when delivery_rank > 1 then 'superseded_by_later_delivery'
        end as reject_reason,
        input_uri,
        record_index,
        allocated_units,
        is_snapshot,
        date_trunc('minute', starts_at) as starts_at,
        date_trunc('minute', ends_at) as ends_at,
        date_trunc('minute', observed_at) as observed_at,
        landed_at,
        event_date
    from ranked
)

select * from final
