{{ config(materialized='view') }}

with

hours as (
    select * from {{ ref('int_capacity__hours') }}
),

commitments as (
    select
        commitment_id,
        bought_units,
        starts_at,
        ends_at,
        cast(cast(usd_per_unit_hour as decimal(28, 9)) * 1000000000 as bigint) as nano_usd_per_unit_hour,
        cast(cast(usd_per_overage_unit_hour as decimal(28, 9)) * 1000000000 as bigint) as nano_usd_per_overage_unit_hour
    from {{ ref('seed_commitments') }}
),

allocations as (
    select * from {{ ref('int_capacity__allocations') }}
),

-- An hour in which units or prices change is cut there: a unit is paid for by the minute.
changes as (
    select
        commitment_id,
        starts_at as changed_at
    from commitments
    union
    select
        commitment_id,
        starts_at as changed_at
    from allocations
    union
    select
        commitment_id,
        ends_at as changed_at
    from allocations
    union
    select
        commitment_id,
        ends_at as changed_at
    from commitments
),

spans as (
    select
        commitment_id,
        min(starts_at) as starts_at,
        max(ends_at) as ends_at
    from commitments
    group by commitment_id
),

cuts as (
    select
        spans.commitment_id,
        hours.event_date,
        hours.hour_at,
        hours.hour_at as piece_starts_at
    from spans
    inner join hours
        on
            spans.ends_at > hours.hour_at
            and spans.starts_at < hours.hour_at + interval '1 hour'
    union
    select
        changes.commitment_id,
        hours.event_date,
        hours.hour_at,
        changes.changed_at as piece_starts_at
    from changes
    inner join hours
        on
            changes.changed_at >= hours.hour_at
            and changes.changed_at < hours.hour_at + interval '1 hour'
),

ended as (
    select
        *,
        coalesce(
            lead(piece_starts_at) over (partition by commitment_id, hour_at order by piece_starts_at),
            hour_at + interval '1 hour'
        ) as piece_ends_at
    from cuts
),

pieces as (
    select
        ended.commitment_id,
        ended.event_date,
        ended.hour_at,
        ended.piece_starts_at,
        {{ integer_divide(microseconds_between('ended.piece_starts_at', 'ended.piece_ends_at'), 60000000) }}
            as piece_minute_count,
        commitments.bought_units,
        commitments.nano_usd_per_unit_hour,
        commitments.nano_usd_per_overage_unit_hour
    from ended
    inner join commitments
        on
            ended.commitment_id = commitments.commitment_id
            and ended.piece_starts_at >= commitments.starts_at
            and ended.piece_starts_at < commitments.ends_at
),

held as (
    select
        pieces.*,
        allocations.deployment_id,
        allocations.direction_type,
        allocations.allocated_units,
        allocations.input_tokens_per_minute_per_unit,
        sum(allocations.allocated_units) over (
            partition by pieces.commitment_id, pieces.piece_starts_at
        ) as deployed_units,
        sum(allocations.allocated_units) over (
            partition by pieces.commitment_id, pieces.piece_starts_at
            order by allocations.deployment_id
            rows between unbounded preceding and current row
        ) as running_units
    from pieces
    inner join allocations
        on
            pieces.commitment_id = allocations.commitment_id
            and pieces.piece_starts_at >= allocations.starts_at
            and pieces.piece_starts_at < allocations.ends_at
),

-- Units past those bought are overage. Which deployment holds them nobody can say: each bears its share by units.
priced as (
    select
        *,
        case
            when nano_usd_per_overage_unit_hour is null then 0
            else greatest(deployed_units - bought_units, 0)
        end * cast(coalesce(nano_usd_per_overage_unit_hour, 0) as decimal(38, 0)) * piece_minute_count
            as overage_nano_usd_minutes,
        case
            when nano_usd_per_overage_unit_hour is null then deployed_units
            else least(deployed_units, bought_units)
        end * cast(nano_usd_per_unit_hour as decimal(38, 0)) * piece_minute_count as reserved_nano_usd_minutes
    from held
),

-- Whole nano-dollars by steps of the running share, so that the deployments' parts add up to the piece.
{%- set all_minutes = '(reserved_nano_usd_minutes + overage_nano_usd_minutes)' %}
shared as (
    select
        *,
        case
            when deployed_units = 0 then 0
            else
                {{ integer_divide(all_minutes ~ ' * running_units', 'deployed_units * 60') }}
                - {{ integer_divide(all_minutes ~ ' * (running_units - allocated_units)', 'deployed_units * 60') }}
        end as nano_usd,
        case
            when deployed_units = 0 then 0
            else
                {{ integer_divide('overage_nano_usd_minutes * running_units', 'deployed_units * 60') }}
                - {{ integer_divide(
                    'overage_nano_usd_minutes * (running_units - allocated_units)', 'deployed_units * 60'
                ) }}
        end as overage_nano_usd
    from priced
),

deployed as (
    select
        commitment_id,
        piece_starts_at,
        max(deployed_units) as deployed_units
    from held
    group by commitment_id, piece_starts_at
),

rest as (
    select
        pieces.*,
        pieces.bought_units - coalesce(deployed.deployed_units, 0) as unallocated_units
    from pieces
    left join deployed
        on
            pieces.commitment_id = deployed.commitment_id
            and pieces.piece_starts_at = deployed.piece_starts_at
),

final as (
    select
        commitment_id,
        deployment_id,
        direction_type,
        'deployment' as allocation_type,
        cast(max(allocated_units) as bigint) as units_count,
        cast(sum(allocated_units * piece_minute_count) as bigint) as unit_minute_count,
        cast(sum(allocated_units * input_tokens_per_minute_per_unit * piece_minute_count) as bigint) as capacity_tokens,
        cast(sum(nano_usd) as bigint) as nano_usd,
        cast(sum(overage_nano_usd) as bigint) as overage_nano_usd,
        hour_at,
        event_date
    from shared
    group by commitment_id, deployment_id, direction_type, hour_at, event_date
    union all
    select
        commitment_id,
        cast(null as varchar) as deployment_id,
        cast(null as varchar) as direction_type,
        'unallocated' as allocation_type,
        cast(case when min(unallocated_units) < 0 then min(unallocated_units) else max(unallocated_units) end as bigint)
            as units_count,
        cast(sum(unallocated_units * piece_minute_count) as bigint) as unit_minute_count,
        cast(null as bigint) as capacity_tokens,
        cast(sum({{ integer_divide(
            'cast(greatest(unallocated_units, 0) as decimal(38, 0)) * nano_usd_per_unit_hour * piece_minute_count', 60
        ) }}) as bigint) as nano_usd,
        cast(0 as bigint) as overage_nano_usd,
        hour_at,
        event_date
    from rest
    where unallocated_units > 0 or (unallocated_units < 0 and nano_usd_per_overage_unit_hour is null)
    group by commitment_id, hour_at, event_date
)

select * from final
