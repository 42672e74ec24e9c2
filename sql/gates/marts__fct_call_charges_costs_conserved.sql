-- Per day, and for the window as a whole: the charges of the calls that a rate card prices add up to the calls' own
-- costs, to the last digit.
with

priced_calls as (
    select *
    from marts.fct_calls
    where event_date between $min_date and $max_date and list_cost_usd is not null
),

calls as (
    select
        event_date,
        coalesce(sum(list_cost_usd), 0) as list_cost_usd,
        coalesce(sum(contracted_cost_usd), 0) as contracted_cost_usd
    from priced_calls
    group by grouping sets ((event_date), ())
),

charges as (
    select
        event_date,
        coalesce(sum(list_cost_usd), 0) as list_cost_usd,
        coalesce(sum(contracted_cost_usd), 0) as contracted_cost_usd
    from marts.fct_call_charges
    where event_date between $min_date and $max_date and is_call_priced
    group by grouping sets ((event_date), ())
)

select
    coalesce(calls.event_date, charges.event_date) as event_date,
    calls.list_cost_usd,
    charges.list_cost_usd as charge_list_cost_usd,
    calls.contracted_cost_usd,
    charges.contracted_cost_usd as charge_contracted_cost_usd,
    1 as evaluated_count,
    cast(
        (coalesce(calls.list_cost_usd, 0), coalesce(calls.contracted_cost_usd, 0))
        is distinct from
        (coalesce(charges.list_cost_usd, 0), coalesce(charges.contracted_cost_usd, 0))
        as integer
    ) as violation_count
from calls
full join charges on calls.event_date is not distinct from charges.event_date
order by event_date
