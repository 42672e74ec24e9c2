{#- z of the 10th and 90th percentile of the normal distribution. -#}
{%- set z = '1.2815515655446004' -%}
{%- set scope_columns = {
    'team': 'team_name', 'product': 'product_name', 'use_case': 'use_case_id', 'environment': 'environment_name',
    'customer': 'customer_id', 'provider': 'provider_name',
} -%}
with

use_cases as (
    select * from {{ ref('dim_use_cases') }}
),

dated_budgets as (
    select
        *,
        cast(cast('{{ var("calendar_end_at") }}' as timestamp) as date) as known_until_date
    from {{ ref('seed_budgets') }}
),

-- Of the amounts of one budget, the one that was set last and holds already.
budgets as (
    select
        *,
        row_number() over (partition by budget_id order by valid_from desc) as amount_rank
    from dated_budgets
    where valid_from <= known_until_date
),

current_budgets as (
    select
        *,
        least(period_end_date, greatest(period_start_date, known_until_date)) as elapsed_end_date
    from budgets
    where amount_rank = 1
),

calls_by_day as (
    select
        charges.event_date,
        coalesce(charges.team_name, use_cases.team_name) as team_name,
        use_cases.product_name,
        charges.use_case_id,
        charges.environment_name,
        charges.customer_id,
        charges.provider_name,
        sum(charges.effective_cost_usd) as cost_usd,
        sum(
            case
                when charges.unit_kind_type = 'request' and charges.pricing_status_type = 'unpriced'
                    then charges.call_count
                else 0
            end
        ) as unpriced_call_count
    from {{ ref('int_allocation__daily_charges') }} as charges
    left join use_cases on charges.use_case_id = use_cases.use_case_id
    group by
        charges.event_date, coalesce(charges.team_name, use_cases.team_name), use_cases.product_name,
        charges.use_case_id, charges.environment_name, charges.customer_id, charges.provider_name
),

-- Bills and declared costs are of the day on which their period begins.
charged as (
    select
        billing_period_start_date as event_date,
        team_name,
        product_name,
        use_case_id,
        environment_name,
        customer_id,
        provider_name,
        sum(allocated_cost_usd) as cost_usd
    from {{ ref('fct_cost_allocations') }}
    where component_name <> 'calls' or cause_type is not null
    group by
        billing_period_start_date, team_name, product_name, use_case_id, environment_name, customer_id, provider_name
),

spent_by_day as (
    select
        budgets.budget_id,
        calls_by_day.event_date,
        sum(calls_by_day.cost_usd) as cost_usd,
        sum(calls_by_day.unpriced_call_count) as unpriced_call_count
    from current_budgets as budgets
    inner join calls_by_day
        on
            budgets.period_start_date <= calls_by_day.event_date
            and budgets.elapsed_end_date > calls_by_day.event_date
    where
        budgets.scope_id = case budgets.scope_type
            {%- for scope, column in scope_columns.items() %}
            when '{{ scope }}' then calls_by_day.{{ column }}
            {%- endfor %}
        end
    group by budgets.budget_id, calls_by_day.event_date
),

charges as (
    select
        budgets.budget_id,
        sum(charged.cost_usd) as cost_usd
    from current_budgets as budgets
    inner join charged
        on
            budgets.period_start_date <= charged.event_date
            and budgets.elapsed_end_date > charged.event_date
    where
        budgets.scope_id = case budgets.scope_type
            {%- for scope, column in scope_columns.items() %}
            when '{{ scope }}' then charged.{{ column }}
            {%- endfor %}
        end
    group by budgets.budget_id
),

digits as (
    {%- for digit in range(10) %}
    select {{ digit }} as digit{{ ' union all' if not loop.last }}
    {%- endfor %}
),

offsets as (
    select thousands.digit * 1000 + hundreds.digit * 100 + tens.digit * 10 + ones.digit as day_offset
    from digits as thousands
    cross join digits as hundreds
    cross join digits as tens
    cross join digits as ones
),

dates as (
    select
        current_budgets.budget_id,
        current_budgets.elapsed_end_date,
        current_budgets.period_end_date,
        cast(current_budgets.period_start_date + offsets.day_offset * interval '1 day' as date) as event_date
    from current_budgets
    cross join offsets
),

-- A day without calls is a day as any other: it cost nothing.
days as (
    select
        dates.budget_id,
        dates.event_date,
        dayofweek(dates.event_date) as weekday_index,
        dates.event_date < dates.elapsed_end_date as is_elapsed,
        coalesce(spent_by_day.cost_usd, 0) as cost_usd,
        coalesce(spent_by_day.unpriced_call_count, 0) as unpriced_call_count
    from dates
    left join spent_by_day
        on
            dates.budget_id = spent_by_day.budget_id
            and dates.event_date = spent_by_day.event_date
    where dates.event_date < dates.period_end_date
),

weekdays as (
    select
        budget_id,
        weekday_index,
        sum(case when is_elapsed then 1 else 0 end) as elapsed_day_count,
        sum(case when is_elapsed then 0 else 1 end) as remaining_day_count,
        avg(case when is_elapsed then cast(cost_usd as double) end) as mean_usd_per_day
    from days
    group by budget_id, weekday_index
),

means as (
    select
        budget_id,
        avg(case when is_elapsed then cast(cost_usd as double) end) as mean_usd_per_day
    from days
    group by budget_id
),

-- A weekday's own mean once it was seen twice, else the mean of all days.
rates as (
    select
        weekdays.budget_id,
        weekdays.weekday_index,
        weekdays.remaining_day_count,
        weekdays.elapsed_day_count >= 2 as is_own_mean,
        case when weekdays.elapsed_day_count >= 2 then weekdays.mean_usd_per_day else means.mean_usd_per_day end
            as mean_usd_per_day
    from weekdays
    inner join means on weekdays.budget_id = means.budget_id
),

remaining as (
    select
        budget_id,
        sum(remaining_day_count) as remaining_day_count,
        sum(remaining_day_count * mean_usd_per_day) as remaining_usd,
        sum(case when is_own_mean then 1 else 0 end) + max(case when is_own_mean then 0 else 1 end) as mean_count
    from rates
    group by budget_id
),

spent as (
    select
        days.budget_id,
        sum(case when days.is_elapsed then 1 else 0 end) as elapsed_day_count,
        sum(case when days.is_elapsed then days.cost_usd else 0 end) as direct_cost_usd,
        sum(case when days.is_elapsed then days.unpriced_call_count else 0 end) as unpriced_call_count,
        sum(
            case
                when days.is_elapsed
                    then
                        (cast(days.cost_usd as double) - rates.mean_usd_per_day)
                        * (cast(days.cost_usd as double) - rates.mean_usd_per_day)
            end
        ) as squared_residuals_score
    from days
    inner join rates
        on
            days.budget_id = rates.budget_id
            and days.weekday_index = rates.weekday_index
    group by days.budget_id
),

figures as (
    select
        budgets.*,
        spent.elapsed_day_count,
        remaining.remaining_day_count,
        spent.unpriced_call_count,
        spent.direct_cost_usd,
        coalesce(charges.cost_usd, 0) as charged_cost_usd,
        spent.direct_cost_usd + coalesce(charges.cost_usd, 0) as spent_usd,
        cast(spent.direct_cost_usd + coalesce(charges.cost_usd, 0) as double)
        + case when remaining.remaining_day_count = 0 then 0 else remaining.remaining_usd end as forecast_score,
        case
            when remaining.remaining_day_count = 0 then 0
            when spent.elapsed_day_count >= remaining.mean_count + 7
                then
                    {{ z }} * sqrt(
                        spent.squared_residuals_score / (spent.elapsed_day_count - remaining.mean_count)
                        * (
                            remaining.remaining_day_count
                            + cast(remaining.remaining_day_count as double) * remaining.remaining_day_count
                            / spent.elapsed_day_count
                        )
                    )
        end as forecast_margin_score
    from current_budgets as budgets
    inner join spent on budgets.budget_id = spent.budget_id
    inner join remaining on budgets.budget_id = remaining.budget_id
    left join charges on budgets.budget_id = charges.budget_id
),

final as (
    select
        budget_id,
        scope_type,
        scope_id,
        period_start_date,
        period_end_date,
        valid_from as amount_set_date,
        cast(budget_usd as decimal(38, 18)) as budget_usd,
        cast(warning_share as decimal(9, 6)) as warning_share,
        cast(elapsed_day_count as bigint) as elapsed_day_count,
        cast(remaining_day_count as bigint) as remaining_day_count,
        cast(direct_cost_usd as decimal(38, 18)) as direct_cost_usd,
        cast(charged_cost_usd as decimal(38, 18)) as charged_cost_usd,
        cast(spent_usd as decimal(38, 18)) as spent_usd,
        cast(budget_usd - spent_usd as decimal(38, 18)) as left_usd,
        cast(spent_usd as double) / nullif(cast(budget_usd as double), 0) as spent_share,
        cast(direct_cost_usd as double) / nullif(elapsed_day_count, 0) as burn_usd_per_day,
        forecast_score - forecast_margin_score as p10_forecast_usd,
        forecast_score as p50_forecast_usd,
        forecast_score + forecast_margin_score as p90_forecast_usd,
        case
            when spent_usd > budget_usd then 'exceeded'
            when remaining_day_count > 0 and forecast_score > budget_usd then 'forecast_exceeded'
            when spent_usd >= budget_usd * warning_share then 'warning'
            else 'ok'
        end as threshold_status_type,
        cast(unpriced_call_count as bigint) as unpriced_call_count
    from figures
)

select * from final
