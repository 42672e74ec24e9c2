{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='started_date',
    rebuild_days_around='instance_horizon_days',
) }}

{%- set horizon = var('instance_horizon_days') %}

with

instances as (
    select *
    from {{ ref('fct_use_case_instances') }}
    where {{ in_window('started_date', days_before=horizon, days_after=horizon) }}
),

aggregated as (
    select
        use_case_id,
        coalesce(use_case_version, 'unversioned') as use_case_version,
        started_date,
        count(*) as instance_count,
        count(cost_usd) as costed_instance_count,
        count(is_success) as judged_instance_count,
        sum(case when is_success then 1 else 0 end) as success_count,
        count(case when is_success is not null then cost_usd end) as costed_judged_instance_count,
        sum(case when is_success and cost_usd is not null then 1 else 0 end) as costed_success_count,
        count(value_usd) as valued_instance_count,
        count(margin_usd) as costed_valued_instance_count,
        sum(call_count) as call_count,
        sum(retry_count) as retry_count,
        sum(failed_call_count) as failed_call_count,
        sum(unpriced_call_count) as unpriced_call_count,
        cast(sum(priced_cost_usd) as decimal(38, 15)) as cost_usd,
        cast(sum(cost_usd) as decimal(38, 15)) as costed_instance_cost_usd,
        cast(sum(case when is_success is not null then cost_usd end) as decimal(38, 15)) as judged_cost_usd,
        cast(sum(value_usd) as decimal(38, 9)) as value_usd,
        cast(sum(case when value_usd is not null then cost_usd end) as decimal(38, 15)) as valued_cost_usd,
        cast(sum(margin_usd) as decimal(38, 15)) as margin_usd,
        cast(sum(time_saved_s) as decimal(38, 9)) as time_saved_s,
        {{ honest_quantile('cost_usd', 0.5) }} as p50_cost_usd,
        {{ honest_quantile('cost_usd', 0.9) }} as p90_cost_usd,
        {{ honest_quantile('cost_usd', 0.95) }} as p95_cost_usd,
        {{ honest_quantile('cost_usd', 0.99) }} as p99_cost_usd
    from instances
    group by use_case_id, coalesce(use_case_version, 'unversioned'), started_date
),

final as (
    select
        use_case_id,
        use_case_version,
        cast(instance_count as bigint) as instance_count,
        cast(costed_instance_count as bigint) as costed_instance_count,
        cast(instance_count - costed_instance_count as bigint) as uncosted_instance_count,
        cast(judged_instance_count as bigint) as judged_instance_count,
        cast(success_count as bigint) as success_count,
        cast(costed_judged_instance_count as bigint) as costed_judged_instance_count,
        cast(costed_success_count as bigint) as costed_success_count,
        cast(valued_instance_count as bigint) as valued_instance_count,
        cast(costed_valued_instance_count as bigint) as costed_valued_instance_count,
        cast(call_count as bigint) as call_count,
        cast(retry_count as bigint) as retry_count,
        cast(failed_call_count as bigint) as failed_call_count,
        cast(unpriced_call_count as bigint) as unpriced_call_count,
        cast(success_count as double) / nullif(judged_instance_count, 0) as success_share,
        cost_usd,
        costed_instance_cost_usd,
        judged_cost_usd,
        cast(costed_instance_cost_usd as double) / nullif(costed_instance_count, 0) as cost_usd_per_costed_instance,
        cast(judged_cost_usd as double) / nullif(costed_success_count, 0) as cost_usd_per_costed_success,
        p50_cost_usd,
        p90_cost_usd,
        p95_cost_usd,
        p99_cost_usd,
        value_usd,
        valued_cost_usd,
        margin_usd,
        cast(margin_usd as double) / nullif(cast(valued_cost_usd as double), 0) as roi_share,
        time_saved_s,
        started_date
    from aggregated
)

select * from final
