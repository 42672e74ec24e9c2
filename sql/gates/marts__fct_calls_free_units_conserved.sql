-- Per unit kind of the window: the free units of the calls are those that the allowances gave, and none exceeds what
-- its call used. Per allowance and period that the window touches: they are at most the allowance. The row without a
-- kind stands for the window as a whole: it is judged also when nothing is free.
with

given as (
    select *
    from intermediate.int_pricing__allowance_units
    where event_date between $min_date and $max_date
),

taken as (
    select
        unnest(map_keys(free_units)) as unit_kind,
        unnest(map_values(free_units)) as free_units
    from marts.fct_calls
    where event_date between $min_date and $max_date and free_units is not null
),

given_by_kind as (
    select
        unit_kind,
        coalesce(sum(free_units), 0) as free_units,
        coalesce(bool_or(free_units <= 0 or free_units > quantity_units), false) as is_out_of_range
    from given
    group by grouping sets ((unit_kind), ())
),

taken_by_kind as (
    select
        unit_kind,
        coalesce(sum(free_units), 0) as free_units
    from taken
    group by grouping sets ((unit_kind), ())
),

periods as (
    select
        units.allowance_key,
        units.period_start_date,
        sum(units.free_units) as free_units,
        max(units.allowance_units) as allowance_units
    from intermediate.int_pricing__allowance_units as units
    where
        exists (
            select 1
            from given
            where
                given.allowance_key = units.allowance_key
                and given.period_start_date = units.period_start_date
        )
    group by units.allowance_key, units.period_start_date
)

select
    cast(null as varchar) as allowance_key,
    cast(null as date) as period_start_date,
    coalesce(given_by_kind.unit_kind, taken_by_kind.unit_kind) as unit_kind,
    taken_by_kind.free_units,
    given_by_kind.free_units as expected_units,
    1 as evaluated_count,
    cast(
        coalesce(given_by_kind.free_units, 0) <> coalesce(taken_by_kind.free_units, 0)
        or coalesce(given_by_kind.is_out_of_range, false)
        as integer
    ) as violation_count
from given_by_kind
full join taken_by_kind on given_by_kind.unit_kind is not distinct from taken_by_kind.unit_kind
union all
select
    allowance_key,
    period_start_date,
    cast(null as varchar) as unit_kind,
    free_units,
    allowance_units as expected_units,
    1 as evaluated_count,
    cast(free_units > allowance_units as integer) as violation_count
from periods
order by allowance_key, period_start_date, unit_kind
