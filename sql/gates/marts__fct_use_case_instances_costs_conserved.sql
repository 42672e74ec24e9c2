-- Per day, and for the window as a whole: the instances that began then cost what their calls cost, to the last digit.
-- The calls may lie on later days.
with

window_instances as (
    select
        use_case_id,
        use_case_instance_id,
        started_date,
        call_count,
        priced_cost_usd
    from marts.fct_use_case_instances
    where started_date between $min_date and $max_date
),

calls as (
    select
        window_instances.started_date,
        count(*) as call_count,
        coalesce(sum(fct_calls.effective_cost_usd), 0) as cost_usd
    from window_instances
    inner join marts.fct_calls
        on
            window_instances.use_case_id = fct_calls.use_case_id
            and window_instances.use_case_instance_id = fct_calls.use_case_instance_id
    where fct_calls.event_date >= $min_date
    group by grouping sets ((window_instances.started_date), ())
),

instances as (
    select
        started_date,
        coalesce(sum(call_count), 0) as call_count,
        coalesce(sum(priced_cost_usd), 0) as cost_usd
    from window_instances
    group by grouping sets ((started_date), ())
)

select
    coalesce(calls.started_date, instances.started_date) as started_date,
    calls.call_count,
    instances.call_count as instance_call_count,
    calls.cost_usd,
    instances.cost_usd as instance_cost_usd,
    1 as evaluated_count,
    cast((calls.call_count, calls.cost_usd) is distinct from (instances.call_count, instances.cost_usd) as integer)
        as violation_count
from calls
full join instances on calls.started_date is not distinct from instances.started_date
order by started_date
