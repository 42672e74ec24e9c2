{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

-- A call without its token counts has no known share: it stays without a price, which is not a share of zero.
work as (
    select *
    from {{ ref('int_capacity__call_work') }}
    where
        {{ in_window('event_date') }}
        and not is_spillover
        and work_tokens is not null
),

hours as (
    select
        commitment_id,
        deployment_id,
        hour_at,
        used_tokens,
        used_nano_usd
    from {{ ref('int_capacity__deployment_hours') }}
    where
        {{ in_window('event_date') }}
        and allocation_type = 'deployment'
),

running as (
    select
        work.source_name,
        work.call_id,
        work.event_date,
        work.deployment_id,
        work.direction_type,
        work.work_tokens,
        hours.used_tokens,
        hours.used_nano_usd,
        cast(sum(work.work_tokens) over (
            partition by work.commitment_id, work.deployment_id, work.hour_at
            order by work.called_at, work.source_name, work.call_id
            rows between unbounded preceding and current row
        ) as bigint) as running_work_tokens
    from work
    inner join hours
        on
            work.commitment_id = hours.commitment_id
            and work.deployment_id = hours.deployment_id
            and work.hour_at = hours.hour_at
),

-- Each call takes the step of the running share that it makes, so the calls of an hour sum to the hour exactly.
shares as (
    select
        source_name,
        call_id,
        event_date,
        deployment_id,
        direction_type,
        work_tokens,
        case
            when used_tokens = 0 then 0
            else
                {{ integer_divide('cast(used_nano_usd as decimal(38, 0)) * running_work_tokens', 'used_tokens') }}
                - {{ integer_divide(
                    'cast(used_nano_usd as decimal(38, 0)) * (running_work_tokens - work_tokens)', 'used_tokens'
                ) }}
        end as nano_usd
    from running
),

-- A call on bundles of both directions has a share of each.
final as (
    select
        source_name,
        call_id,
        event_date,
        deployment_id,
        work_tokens,
        cast(nano_usd as bigint) as nano_usd
    from shares
    where direction_type is null
    union all
    select
        source_name,
        call_id,
        event_date,
        deployment_id,
        cast(sum(work_tokens) as bigint) as work_tokens,
        cast(sum(nano_usd) as bigint) as nano_usd
    from shares
    where direction_type is not null
    group by source_name, call_id, event_date, deployment_id
)

select
    source_name,
    call_id,
    event_date,
    deployment_id,
    work_tokens,
    cast(nano_usd * cast(0.000000001 as decimal(10, 9)) as decimal(38, 15)) as capacity_cost_usd
from final
