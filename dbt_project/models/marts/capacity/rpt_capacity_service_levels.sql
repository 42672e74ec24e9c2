{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

commitments as (
    select * from {{ ref('dim_commitments') }}
),

deployments as (
    select
        dim_deployments.deployment_id,
        min(commitments.commitment_type) as commitment_type
    from {{ ref('dim_deployments') }} as dim_deployments
    inner join commitments on dim_deployments.commitment_id = commitments.commitment_id
    group by dim_deployments.deployment_id
),

-- What a call waited for is read where both its times and its output are known.
calls as (
    select
        fct_calls.event_date,
        fct_calls.provider_name,
        fct_calls.model_name,
        coalesce(fct_calls.deployment_id, 'none') as deployment_key,
        case
            when fct_calls.pricing_status_type = 'provisioned' then coalesce(deployments.commitment_type, 'provisioned')
            when fct_calls.is_spillover then 'spillover'
            else 'on_demand'
        end as capacity_type,
        fct_calls.time_to_first_token_ms,
        fct_calls.output_tokens + fct_calls.reasoning_tokens as generated_tokens,
        case
            when fct_calls.latency_ms > fct_calls.time_to_first_token_ms
                then fct_calls.latency_ms - fct_calls.time_to_first_token_ms
        end as generation_ms,
        {{ is_throttled('fct_calls.error_type') }} as is_throttled
    from {{ ref('fct_calls') }} as fct_calls
    left join deployments on fct_calls.deployment_id = deployments.deployment_id
    where {{ in_window('fct_calls.event_date') }}
),

rated as (
    select
        *,
        case when generation_ms > 0 then generated_tokens end as timed_tokens,
        case when generated_tokens is not null then generation_ms end as timed_ms
    from calls
),

final as (
    select
        provider_name,
        model_name,
        deployment_key,
        capacity_type,
        cast(count(*) as bigint) as call_count,
        cast(sum(case when is_throttled then 1 else 0 end) as bigint) as throttled_call_count,
        cast(count(time_to_first_token_ms) as bigint) as time_to_first_token_count,
        {{ honest_quantile('time_to_first_token_ms', 0.5) }} as p50_time_to_first_token_ms,
        {{ honest_quantile('time_to_first_token_ms', 0.95) }} as p95_time_to_first_token_ms,
        cast(count(timed_tokens) as bigint) as timed_call_count,
        cast(sum(timed_tokens) as double) * 1000 / nullif(cast(sum(timed_ms) as double), 0) as mean_output_tokens_per_s,
        {{ honest_quantile('timed_tokens * 1000.0 / timed_ms', 0.5) }} as p50_output_tokens_per_s,
        event_date
    from rated
    group by provider_name, model_name, deployment_key, capacity_type, event_date
)

select * from final
