{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

work as (
    select
        *,
        date_trunc('minute', called_at) as minute_at
    from {{ ref('int_capacity__call_work') }}
    where
        {{ in_window('event_date') }}
        and deployment_id is not null
),

deployments as (
    select
        deployment_id,
        allocated_units * input_tokens_per_minute_per_unit as capacity_tokens
    from {{ ref('seed_deployments') }}
),

final as (
    select
        work.deployment_id,
        work.commitment_id,
        cast(max(deployments.capacity_tokens) as bigint) as capacity_tokens,
        cast(coalesce(sum(work.work_tokens), 0) as bigint) as demand_tokens,
        cast(coalesce(sum(case when work.is_spillover then 0 else work.work_tokens end), 0) as bigint) as used_tokens,
        cast(coalesce(sum(case when work.is_spillover then work.work_tokens else 0 end), 0) as bigint)
            as spillover_tokens,
        cast(count(*) as bigint) as call_count,
        cast(0 as bigint) as throttled_call_count,
        work.minute_at,
        work.event_date
    from work
    inner join deployments on work.deployment_id = deployments.deployment_id
    group by work.deployment_id, work.commitment_id, work.minute_at, work.event_date
)

select * from final
