{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

bought as (
    select * from {{ ref('int_capacity__bought_hours') }}
),

work as (
    select
        deployment_id,
        commitment_id,
        hour_at,
        sum(used_tokens) as used_tokens,
        sum(spillover_tokens) as spillover_tokens,
        sum(inferred_spillover_tokens) as inferred_spillover_tokens,
        sum(call_count) as call_count,
        sum(spillover_call_count) as spillover_call_count,
        sum(throttled_call_count) as throttled_call_count
    from {{ ref('int_capacity__minutes') }}
    where {{ in_window('event_date') }}
    group by deployment_id, commitment_id, hour_at
),

allocations as (
    select * from {{ ref('int_capacity__allocations') }}
),

measurements as (
    select
        *,
        {{ utc_hour('measured_at') }} as hour_at
    from {{ ref('stg_capacity__measurements') }}
    where
        {{ in_window('event_date') }}
        and reject_reason is null
),

-- Every measurement of an instance of the deployment counts alike.
telemetry as (
    select
        deployment_id,
        hour_at,
        cast(sum(utilization_millionths) as decimal(38, 0)) as utilization_millionths,
        count(*) as measurement_count
    from measurements
    where measure_type = 'utilization'
    group by deployment_id, hour_at
),

-- Where a provider counts tokens instead, they are weighed as those of calls are; those that it weighs itself count as
-- they are.
counted as (
    select
        measurements.deployment_id,
        allocations.commitment_id,
        measurements.hour_at,
        cast(round(sum(
            case measurements.measure_type
                when 'work_tokens' then measurements.work_tokens
                when 'input_tokens' then measurements.input_tokens * allocations.input_token_weight
                when 'cache_read_tokens' then measurements.cache_read_tokens * allocations.cache_read_token_weight
                else measurements.output_tokens * allocations.output_token_weight
            end
        )) as decimal(38, 0)) as counted_tokens,
        count(*) as measurement_count
    from measurements
    inner join allocations
        on
            measurements.deployment_id = allocations.deployment_id
            and measurements.measured_at >= allocations.starts_at
            and measurements.measured_at < allocations.ends_at
    where
        measurements.measure_type <> 'utilization'
        and allocations.input_tokens_per_minute_per_unit is not null
    group by measurements.deployment_id, allocations.commitment_id, measurements.hour_at
),

measured as (
    select
        bought.*,
        cast(coalesce(work.used_tokens, 0) as bigint) as used_tokens,
        cast(coalesce(work.spillover_tokens, 0) as bigint) as spillover_tokens,
        cast(coalesce(work.inferred_spillover_tokens, 0) as bigint) as inferred_spillover_tokens,
        cast(coalesce(work.call_count, 0) as bigint) as call_count,
        cast(coalesce(work.spillover_call_count, 0) as bigint) as spillover_call_count,
        cast(coalesce(work.throttled_call_count, 0) as bigint) as throttled_call_count,
        coalesce(telemetry.measurement_count, counted.measurement_count) as measurement_count,
        case
            when telemetry.measurement_count is not null
                then cast(telemetry.utilization_millionths as double) / (telemetry.measurement_count * 1000000)
            when bought.capacity_tokens > 0 and counted.measurement_count is not null
                then cast(least(counted.counted_tokens, bought.capacity_tokens) as double) / bought.capacity_tokens
        end as measured_utilization_share,
        case
            when telemetry.measurement_count is not null
                then {{ integer_divide(
                    'cast(bought.nano_usd as decimal(38, 0)) * telemetry.utilization_millionths',
                    'telemetry.measurement_count * 1000000',
                ) }}
            when bought.capacity_tokens > 0 and counted.measurement_count is not null
                then {{ integer_divide(
                    'cast(bought.nano_usd as decimal(38, 0)) * least(counted.counted_tokens, bought.capacity_tokens)',
                    'bought.capacity_tokens',
                ) }}
        end as busy_nano_usd
    from bought
    left join work
        on
            bought.deployment_id = work.deployment_id
            and bought.commitment_id = work.commitment_id
            and bought.hour_at = work.hour_at
    left join telemetry
        on
            bought.deployment_id = telemetry.deployment_id
            and bought.hour_at = telemetry.hour_at
    left join counted
        on
            bought.deployment_id = counted.deployment_id
            and bought.commitment_id = counted.commitment_id
            and bought.hour_at = counted.hour_at
),

-- Money in whole nano-dollars: a split of integers leaves no remainder behind. What telemetry finds busy in an hour
-- without a call of the ledger stays with the idle part, for there is no call to bear it, and is named.
used as (
    select
        *,
        case
            when allocation_type <> 'deployment' then 0
            when busy_nano_usd is not null then case when used_tokens > 0 then busy_nano_usd else 0 end
            when coalesce(capacity_tokens, 0) = 0 then 0
            else {{ integer_divide(
                'cast(nano_usd as decimal(38, 0)) * least(used_tokens, capacity_tokens)', 'capacity_tokens'
            ) }}
        end as used_nano_usd,
        case when used_tokens > 0 then 0 else coalesce(busy_nano_usd, 0) end as unattributed_nano_usd
    from measured
),

-- Calls of which nothing says from where they spilled over, and calls on a deployment that did not exist then. The work
-- is null when none of it could be weighed.
unplaced as (
    select
        commitment_id,
        deployment_id,
        case when is_spillover then 'spillover_of_unknown_origin' else 'not_deployed' end as allocation_type,
        hour_at,
        event_date,
        is_spillover,
        sum(work_tokens) as work_tokens,
        sum(case when is_throttled then 1 else 0 end) as throttled_call_count,
        count(*) as call_count
    from {{ ref('int_capacity__call_work') }}
    where
        {{ in_window('event_date') }}
        and (deployment_id is null or not is_deployed)
    group by commitment_id, deployment_id, is_spillover, hour_at, event_date
),

final as (
    select
        commitment_id,
        deployment_id,
        direction_type,
        allocation_type,
        units_count,
        unit_minute_count,
        capacity_tokens,
        used_tokens,
        spillover_tokens,
        inferred_spillover_tokens,
        call_count,
        spillover_call_count,
        throttled_call_count,
        cast(measurement_count as bigint) as measurement_count,
        measured_utilization_share,
        cast(used_nano_usd as bigint) as used_nano_usd,
        cast(case when allocation_type = 'deployment' then nano_usd - used_nano_usd else 0 end as bigint)
            as idle_nano_usd,
        cast(case when allocation_type = 'unallocated' then nano_usd else 0 end as bigint) as unallocated_nano_usd,
        overage_nano_usd,
        cast(unattributed_nano_usd as bigint) as unattributed_nano_usd,
        hour_at,
        event_date
    from used
    union all
    select
        commitment_id,
        deployment_id,
        cast(null as varchar) as direction_type,
        allocation_type,
        cast(0 as bigint) as units_count,
        cast(0 as bigint) as unit_minute_count,
        cast(null as bigint) as capacity_tokens,
        cast(0 as bigint) as used_tokens,
        cast(case when is_spillover then work_tokens else 0 end as bigint) as spillover_tokens,
        cast(0 as bigint) as inferred_spillover_tokens,
        cast(call_count as bigint) as call_count,
        cast(case when is_spillover then call_count else 0 end as bigint) as spillover_call_count,
        cast(throttled_call_count as bigint) as throttled_call_count,
        cast(null as bigint) as measurement_count,
        cast(null as double) as measured_utilization_share,
        cast(0 as bigint) as used_nano_usd,
        cast(0 as bigint) as idle_nano_usd,
        cast(0 as bigint) as unallocated_nano_usd,
        cast(0 as bigint) as overage_nano_usd,
        cast(0 as bigint) as unattributed_nano_usd,
        hour_at,
        event_date
    from unplaced
)

select * from final
