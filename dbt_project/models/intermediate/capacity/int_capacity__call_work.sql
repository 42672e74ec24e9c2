{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

-- Input-token equivalents, output before its weight: it is the deployment's.
calls as (
    select
        source_name,
        call_id,
        deployment_id,
        spillover_from_deployment_id,
        input_tokens + cache_write_5m_tokens + cache_write_1h_tokens + input_audio_tokens
        + input_image_tokens + embedding_tokens
        + {{ other_units_sum('other_units', ['cache_write_12h', 'input_video']) }} as weighed_input_tokens,
        output_tokens + reasoning_tokens + output_audio_tokens
        + {{ other_units_sum('other_units', other_output_token_kinds()) }} as unweighed_output_tokens,
        is_spillover,
        called_at,
        event_date
    from {{ ref('int_usage__calls') }}
    where {{ in_window('event_date') }}
),

-- A deployment holds capacity while its commitment runs; one without a commitment is paid as it goes.
deployments as (
    select
        deployments.deployment_id,
        deployments.commitment_id,
        deployments.output_token_weight,
        deployments.spillover_deployment_id,
        greatest(deployments.starts_at, commitments.starts_at) as starts_at,
        least(deployments.ends_at, commitments.ends_at) as ends_at
    from {{ ref('seed_deployments') }} as deployments
    inner join {{ ref('seed_commitments') }} as commitments on deployments.commitment_id = commitments.commitment_id
),

served as (
    select
        calls.source_name,
        calls.call_id,
        calls.weighed_input_tokens,
        calls.unweighed_output_tokens,
        calls.is_spillover,
        calls.called_at,
        calls.event_date,
        deployments.deployment_id,
        deployments.commitment_id,
        deployments.output_token_weight
    from calls
    inner join deployments
        on
            calls.deployment_id = deployments.deployment_id
            and calls.called_at >= deployments.starts_at
            and calls.called_at < deployments.ends_at
    where not calls.is_spillover
),

-- Where a call may have spilled from: the deployment that it names, by its own name or by that of its overflow.
origins as (
    select
        *,
        deployment_id as reported_deployment_id,
        true as is_own_name
    from deployments
    union all
    select
        *,
        spillover_deployment_id as reported_deployment_id,
        false as is_own_name
    from deployments
    where spillover_deployment_id is not null
),

-- What all possible origins agree on is known; where they differ nothing is chosen.
spilled as (
    select
        calls.source_name,
        calls.call_id,
        calls.weighed_input_tokens,
        calls.unweighed_output_tokens,
        calls.is_spillover,
        calls.called_at,
        calls.event_date,
        case
            when count(distinct origins.deployment_id) = 1 then min(origins.deployment_id)
        end as deployment_id,
        case
            when count(distinct origins.commitment_id) = 1 then min(origins.commitment_id)
        end as commitment_id,
        case
            when count(distinct origins.output_token_weight) = 1 then min(origins.output_token_weight)
        end as output_token_weight
    from calls
    left join origins
        on
            coalesce(calls.spillover_from_deployment_id, calls.deployment_id) = origins.reported_deployment_id
            and (calls.spillover_from_deployment_id is null or origins.is_own_name)
            and calls.called_at >= origins.starts_at
            and calls.called_at < origins.ends_at
    where calls.is_spillover
    group by
        calls.source_name,
        calls.call_id,
        calls.weighed_input_tokens,
        calls.unweighed_output_tokens,
        calls.is_spillover,
        calls.called_at,
        calls.event_date
),

attributed as (
    select * from served
    union all
    select * from spilled
),

-- Weighted work in input-token equivalents: (input - cached) + ratio x output.
final as (
    select
        source_name,
        call_id,
        commitment_id,
        deployment_id,
        {{ utc_hour('called_at') }} as hour_at,
        called_at,
        event_date,
        is_spillover,
        cast(round(weighed_input_tokens + unweighed_output_tokens * output_token_weight) as bigint) as work_tokens
    from attributed
)

select * from final
