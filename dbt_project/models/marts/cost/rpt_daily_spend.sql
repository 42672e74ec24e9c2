{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

calls as (
    select *
    from {{ ref('fct_calls') }}
    where {{ in_window('event_date') }}
),

final as (
    select
        event_date,
        provider_name,
        model_name,
        team_name,
        use_case_id,
        cast(count(*) as bigint) as call_count,
        cast(sum(case when is_success then 0 else 1 end) as bigint) as failed_call_count,
        cast(sum(case when pricing_status_type = 'unpriced' then 1 else 0 end) as bigint) as unpriced_call_count,
        cast(sum(reported_input_tokens) as bigint) as reported_input_tokens,
        cast(sum(reported_output_tokens) as bigint) as reported_output_tokens,
        cast(sum(case when pricing_status_type = 'unpriced' then reported_input_tokens end) as bigint)
            as unpriced_input_tokens,
        cast(sum(case when pricing_status_type = 'unpriced' then reported_output_tokens end) as bigint)
            as unpriced_output_tokens,
        cast(sum(list_cost_usd) as decimal(38, 15)) as list_cost_usd,
        cast(sum(contracted_cost_usd) as decimal(38, 15)) as contracted_cost_usd,
        cast(sum(effective_cost_usd) as decimal(38, 15)) as effective_cost_usd
    from calls
    group by event_date, provider_name, model_name, team_name, use_case_id
)

select * from final
