{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

hours as (
    select * from {{ ref('int_capacity__hours') }}
),

commitments as (
    select
        *,
        cast(cast(usd_per_unit_hour as decimal(28, 9)) * 1000000000 as bigint) as nano_usd_per_unit_hour
    from {{ ref('seed_commitments') }}
),

deployments as (
    select * from {{ ref('seed_deployments') }}
),

work as (
    select
        deployment_id,
        hour_at,
        sum(case when is_spillover then 0 else work_tokens end) as work_tokens,
        sum(case when is_spillover then work_tokens else 0 end) as spillover_tokens,
        sum(case when is_spillover then 1 else 0 end) as spillover_call_count,
        count(*) as call_count
    from {{ ref('int_capacity__call_work') }}
    where
        {{ in_window('event_date') }}
        and deployment_id is not null
    group by deployment_id, hour_at
),

-- Calls of which nothing says from where they spilled over; their work is null when none of it could be weighed.
spilled_from_unknown as (
    select
        commitment_id,
        hour_at,
        event_date,
        sum(work_tokens) as spillover_tokens,
        count(*) as call_count
    from {{ ref('int_capacity__call_work') }}
    where
        {{ in_window('event_date') }}
        and deployment_id is null
    group by commitment_id, hour_at, event_date
),

deployed as (
    select
        commitments.commitment_id,
        deployments.deployment_id,
        hours.hour_at,
        hours.event_date,
        deployments.allocated_units,
        commitments.nano_usd_per_unit_hour,
        deployments.allocated_units * deployments.input_tokens_per_minute_per_unit * 60 as capacity_tokens,
        cast(coalesce(work.work_tokens, 0) as bigint) as work_tokens,
        cast(coalesce(work.spillover_tokens, 0) as bigint) as spillover_tokens,
        cast(coalesce(work.spillover_call_count, 0) as bigint) as spillover_call_count,
        cast(coalesce(work.call_count, 0) as bigint) as call_count
    from commitments
    inner join deployments on commitments.commitment_id = deployments.commitment_id
    inner join hours
        on
            hours.hour_at >= greatest(commitments.starts_at, deployments.starts_at)
            and hours.hour_at < least(commitments.ends_at, deployments.ends_at)
    left join work
        on
            deployments.deployment_id = work.deployment_id
            and hours.hour_at = work.hour_at
),

-- Money in whole nano-dollars: a split of integers leaves no remainder behind.
used as (
    select
        *,
        allocated_units * nano_usd_per_unit_hour as allocated_nano_usd,
        case
            when capacity_tokens = 0 then 0
            else cast({{ integer_divide(
                'cast(allocated_units * nano_usd_per_unit_hour as decimal(38, 0)) * least(work_tokens, capacity_tokens)',
                'capacity_tokens',
            ) }} as bigint)
        end as used_nano_usd
    from deployed
),

allocated as (
    select
        commitment_id,
        hour_at,
        sum(allocated_units) as allocated_units
    from used
    group by commitment_id, hour_at
),

unallocated as (
    select
        commitments.commitment_id,
        hours.hour_at,
        hours.event_date,
        commitments.bought_units - coalesce(allocated.allocated_units, 0) as unallocated_units,
        commitments.nano_usd_per_unit_hour
    from commitments
    inner join hours
        on
            commitments.starts_at <= hours.hour_at
            and commitments.ends_at > hours.hour_at
    left join allocated
        on
            commitments.commitment_id = allocated.commitment_id
            and hours.hour_at = allocated.hour_at
),

final as (
    select
        commitment_id,
        deployment_id,
        'deployment' as allocation_type,
        cast(allocated_units as bigint) as units_count,
        cast(capacity_tokens as bigint) as capacity_tokens,
        work_tokens as used_tokens,
        spillover_tokens,
        call_count,
        spillover_call_count,
        cast(used_nano_usd as bigint) as used_nano_usd,
        cast(allocated_nano_usd - used_nano_usd as bigint) as idle_nano_usd,
        cast(0 as bigint) as unallocated_nano_usd,
        hour_at,
        event_date
    from used
    union all
    select
        commitment_id,
        cast(null as varchar) as deployment_id,
        'unallocated' as allocation_type,
        cast(unallocated_units as bigint) as units_count,
        cast(null as bigint) as capacity_tokens,
        cast(0 as bigint) as used_tokens,
        cast(0 as bigint) as spillover_tokens,
        cast(0 as bigint) as call_count,
        cast(0 as bigint) as spillover_call_count,
        cast(0 as bigint) as used_nano_usd,
        cast(0 as bigint) as idle_nano_usd,
        cast(unallocated_units * nano_usd_per_unit_hour as bigint) as unallocated_nano_usd,
        hour_at,
        event_date
    from unallocated
    where unallocated_units <> 0
    union all
    select
        commitment_id,
        cast(null as varchar) as deployment_id,
        'spillover_of_unknown_origin' as allocation_type,
        cast(0 as bigint) as units_count,
        cast(null as bigint) as capacity_tokens,
        cast(0 as bigint) as used_tokens,
        cast(spillover_tokens as bigint) as spillover_tokens,
        cast(call_count as bigint) as call_count,
        cast(call_count as bigint) as spillover_call_count,
        cast(0 as bigint) as used_nano_usd,
        cast(0 as bigint) as idle_nano_usd,
        cast(0 as bigint) as unallocated_nano_usd,
        hour_at,
        event_date
    from spilled_from_unknown
)

select * from final
