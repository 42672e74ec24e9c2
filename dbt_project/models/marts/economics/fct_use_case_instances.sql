{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='started_date',
    rebuild_days_around='instance_horizon_days',
) }}

{%- set horizon = var('instance_horizon_days') %}

with

-- A call that comes or goes on a day of the window moves the first day of instances up to the horizon around it.
calls as (
    select *
    from {{ ref('fct_calls') }}
    where
        {{ in_window('event_date', days_before=2 * horizon, days_after=2 * horizon) }}
        and use_case_id is not null
        and use_case_instance_id is not null
),

instances as (
    select
        use_case_id,
        use_case_instance_id,
        max(use_case_version) as use_case_version,
        max(team_name) as team_name,
        min(called_at) as started_at,
        min(event_date) as started_date,
        max(called_at) as last_called_at,
        count(*) as call_count,
        sum(case when attempt_index > 0 then 1 else 0 end) as retry_count,
        sum(case when is_success then 0 else 1 end) as failed_call_count,
        count(distinct step_name) as step_count,
        sum(reported_input_tokens) as reported_input_tokens,
        sum(reported_output_tokens) as reported_output_tokens,
        sum(case when pricing_status_type = 'unpriced' then 1 else 0 end) as unpriced_call_count,
        cast(sum(effective_cost_usd) as decimal(38, 15)) as priced_cost_usd
    from calls
    group by use_case_id, use_case_instance_id
),

-- A score may come any time after the instance began, and by another clock up to the horizon before.
scores as (
    select
        kpi_scores.use_case_id,
        kpi_scores.use_case_instance_id,
        kpi_scores.kpi_name,
        kpi_scores.score,
        kpi_scores.is_outcome,
        row_number() over (
            partition by kpi_scores.use_case_id, kpi_scores.use_case_instance_id, kpi_scores.kpi_name
            order by kpi_scores.scored_at desc, kpi_scores.kpi_score_id desc
        ) as recency_rank
    from {{ ref('fct_kpi_scores') }} as kpi_scores
    inner join instances
        on
            kpi_scores.use_case_id = instances.use_case_id
            and kpi_scores.use_case_instance_id = instances.use_case_instance_id
            and kpi_scores.event_date + interval '{{ horizon }} days' >= instances.started_date
    where kpi_scores.event_date >= {{ window_start(2 * horizon) }}
),

instance_scores as (
    select
        use_case_id,
        use_case_instance_id,
        {% for name in equation_kpi_names() -%}
        max(case when kpi_name = '{{ name }}' then score end) as kpi_{{ name }},
        {% endfor -%}
        min(case when is_outcome then score end) as outcome_score
    from scores
    where recency_rank = 1
    group by use_case_id, use_case_instance_id
),

costed as (
    select
        instances.*,
        case when instances.unpriced_call_count = 0 then instances.priced_cost_usd end as cost_usd,
        {% for name in equation_kpi_names() -%}
        instance_scores.kpi_{{ name }},
        {% endfor -%}
        instance_scores.outcome_score
    from instances
    left join instance_scores
        on
            instances.use_case_id = instance_scores.use_case_id
            and instances.use_case_instance_id = instance_scores.use_case_instance_id
    where {{ in_window('instances.started_date', days_before=horizon, days_after=horizon) }}
),

valued as (
    select
        *,
        {{ value_of('money') }} as value_usd,
        {{ value_of('time') }} as time_saved_s
    from costed
),

final as (
    select
        use_case_id,
        use_case_instance_id,
        use_case_version,
        team_name,
        cast(call_count as bigint) as call_count,
        cast(retry_count as bigint) as retry_count,
        cast(failed_call_count as bigint) as failed_call_count,
        cast(step_count as bigint) as step_count,
        cast(unpriced_call_count as bigint) as unpriced_call_count,
        cast(reported_input_tokens as bigint) as reported_input_tokens,
        cast(reported_output_tokens as bigint) as reported_output_tokens,
        priced_cost_usd,
        cost_usd,
        cast(value_usd as decimal(28, 9)) as value_usd,
        cast(value_usd - cost_usd as decimal(38, 15)) as margin_usd,
        cast(time_saved_s as decimal(28, 9)) as time_saved_s,
        cast(outcome_score = 1 as boolean) as is_success,
        started_at,
        last_called_at,
        started_date
    from valued
)

select * from final
