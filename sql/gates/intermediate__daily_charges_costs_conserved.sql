-- Per source and day, and for the window as a whole: the daily charges hold every call once, and their costs add up to
-- the calls' own, to the last digit.
with

calls as (
    select
        source_name,
        event_date,
        count(*) as call_count,
        coalesce(sum(list_cost_usd), 0) as list_cost_usd,
        coalesce(sum(contracted_cost_usd), 0) as contracted_cost_usd,
        coalesce(sum(effective_cost_usd), 0) as effective_cost_usd
    from marts.fct_calls
    where event_date between $min_date and $max_date
    group by grouping sets ((source_name, event_date), ())
),

charges as (
    select
        source_name,
        event_date,
        coalesce(sum(case when unit_kind_type = 'request' then call_count end), 0) as call_count,
        coalesce(sum(list_cost_usd), 0) as list_cost_usd,
        coalesce(sum(contracted_cost_usd), 0) as contracted_cost_usd,
        coalesce(sum(effective_cost_usd), 0) as effective_cost_usd
    from intermediate.int_allocation__daily_charges
    where event_date between $min_date and $max_date
    group by grouping sets ((source_name, event_date), ())
)

select
    coalesce(calls.source_name, charges.source_name) as source_name,
    coalesce(calls.event_date, charges.event_date) as event_date,
    calls.call_count,
    charges.call_count as charged_call_count,
    calls.list_cost_usd,
    charges.list_cost_usd as charged_list_cost_usd,
    calls.contracted_cost_usd,
    charges.contracted_cost_usd as charged_contracted_cost_usd,
    calls.effective_cost_usd,
    charges.effective_cost_usd as charged_effective_cost_usd,
    1 as evaluated_count,
    cast(
        (calls.call_count, calls.list_cost_usd, calls.contracted_cost_usd, calls.effective_cost_usd)
        is distinct from
        (charges.call_count, charges.list_cost_usd, charges.contracted_cost_usd, charges.effective_cost_usd)
        as integer
    ) as violation_count
from calls
full join charges
    on
        calls.source_name is not distinct from charges.source_name
        and calls.event_date is not distinct from charges.event_date
order by event_date, source_name
