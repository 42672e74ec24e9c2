{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

work as (
    select *
    from {{ ref('int_capacity__call_work') }}
    where
        {{ in_window('event_date') }}
        and deployment_id is not null
        and is_deployed
),

allocations as (
    select * from {{ ref('int_capacity__allocations') }}
),

windows as (
    select
        deployment_id,
        commitment_id,
        minute_at,
        hour_at,
        event_date,
        window_index,
        sum(case when is_spillover then 0 else work_tokens end) as used_tokens,
        sum(case when is_spillover then work_tokens else 0 end) as spillover_tokens,
        sum(case when is_spillover then 1 else 0 end) as spillover_call_count,
        sum(case when is_throttled then 1 else 0 end) as throttled_call_count,
        count(*) as call_count
    from work
    group by deployment_id, commitment_id, minute_at, hour_at, event_date, window_index
),

-- Work past what a window of enforcement can serve must have gone elsewhere where no call says that it did.
judged as (
    select
        windows.*,
        allocations.allocated_units * allocations.input_tokens_per_minute_per_unit as capacity_tokens,
        case
            when allocations.enforcement_window_s is null or windows.spillover_call_count > 0 then 0
            else greatest(
                windows.used_tokens - {{ integer_divide(
                    'allocations.allocated_units * allocations.input_tokens_per_minute_per_unit'
                    ~ ' * allocations.enforcement_window_s',
                    60,
                ) }},
                0
            )
        end as inferred_spillover_tokens
    from windows
    inner join allocations
        on
            windows.deployment_id = allocations.deployment_id
            and windows.commitment_id = allocations.commitment_id
            and windows.minute_at >= allocations.starts_at
            and windows.minute_at < allocations.ends_at
),

final as (
    select
        deployment_id,
        commitment_id,
        cast(max(capacity_tokens) as bigint) as capacity_tokens,
        cast(coalesce(sum(used_tokens), 0) as bigint) as used_tokens,
        cast(coalesce(sum(spillover_tokens), 0) as bigint) as spillover_tokens,
        cast(coalesce(sum(inferred_spillover_tokens), 0) as bigint) as inferred_spillover_tokens,
        cast(sum(call_count) as bigint) as call_count,
        cast(sum(spillover_call_count) as bigint) as spillover_call_count,
        cast(sum(throttled_call_count) as bigint) as throttled_call_count,
        minute_at,
        hour_at,
        event_date
    from judged
    group by deployment_id, commitment_id, minute_at, hour_at, event_date
)

select * from final
