-- Per day, and for the window as a whole: the report adds up to the calls that state a cost, to the last digit.
with

calls as (
    select
        event_date,
        count(*) as call_count,
        coalesce(sum(reported_cost_usd), 0) as reported_cost_usd,
        coalesce(sum(effective_cost_usd), 0) as effective_cost_usd,
        coalesce(sum(effective_cost_usd - reported_cost_usd), 0) as difference_usd
    from marts.fct_calls
    where
        event_date between $min_date and $max_date
        and reported_cost_usd is not null
    group by grouping sets ((event_date), ())
),

report as (
    select
        event_date,
        coalesce(sum(call_count), 0) as call_count,
        coalesce(sum(reported_cost_usd), 0) as reported_cost_usd,
        coalesce(sum(effective_cost_usd), 0) as effective_cost_usd,
        coalesce(sum(difference_usd), 0) as difference_usd
    from marts.rpt_reported_costs
    where event_date between $min_date and $max_date
    group by grouping sets ((event_date), ())
)

select
    coalesce(calls.event_date, report.event_date) as event_date,
    calls.call_count,
    report.call_count as report_call_count,
    calls.reported_cost_usd,
    report.reported_cost_usd as report_reported_cost_usd,
    calls.difference_usd,
    report.difference_usd as report_difference_usd,
    1 as evaluated_count,
    cast(
        (calls.call_count, calls.reported_cost_usd, calls.effective_cost_usd, calls.difference_usd)
        is distinct from
        (report.call_count, report.reported_cost_usd, report.effective_cost_usd, report.difference_usd)
        as integer
    ) as violation_count
from calls
full join report on calls.event_date is not distinct from report.event_date
order by event_date
