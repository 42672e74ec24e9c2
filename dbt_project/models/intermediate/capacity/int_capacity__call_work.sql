{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

calls as (
    select * from {{ ref('int_usage__calls') }}
),

deployments as (
    select * from {{ ref('seed_deployments') }}
),

-- A call that spilled over was served on demand, under the name of the deployment that takes the overflow.
served_as as (
    select
        deployment_id,
        deployment_id as reported_deployment_id,
        false as is_spillover
    from deployments
    union all
    select
        deployment_id,
        deployment_id as reported_deployment_id,
        true as is_spillover
    from deployments
    union all
    select
        min(deployment_id) as deployment_id,
        spillover_deployment_id as reported_deployment_id,
        true as is_spillover
    from deployments
    where spillover_deployment_id is not null
    group by spillover_deployment_id
),

-- Weighted work in input-token equivalents: (input - cached) + ratio x output.
final as (
    select
        calls.source_name,
        calls.call_id,
        served_as.deployment_id,
        {{ utc_hour('calls.called_at') }} as hour_at,
        calls.called_at,
        calls.event_date,
        calls.is_spillover,
        cast(round(
            calls.input_tokens + calls.cache_write_5m_tokens + calls.cache_write_1h_tokens + calls.input_audio_tokens
            + calls.input_image_tokens + calls.embedding_tokens
            + {{ other_units_sum('calls.other_units', ['cache_write_12h', 'input_video']) }}
            + (
                calls.output_tokens + calls.reasoning_tokens + calls.output_audio_tokens
                + {{ other_units_sum('calls.other_units', other_output_token_kinds()) }}
            )
            * deployments.output_token_weight
        ) as bigint) as work_tokens
    from calls
    inner join served_as
        on
            calls.deployment_id = served_as.reported_deployment_id
            and calls.is_spillover = served_as.is_spillover
    inner join deployments
        on
            served_as.deployment_id = deployments.deployment_id
            and calls.called_at >= deployments.starts_at
            and calls.called_at < deployments.ends_at
    where {{ in_window('calls.event_date') }}
)

select * from final
