-- Per source and day: what landed is accepted calls, rejected records and records that are no calls. Nothing else.
-- The window as a whole is judged too, so that a window in which nothing landed is shown to hold nothing.
with

landed as (
    select
        source_name,
        event_date,
        sum(row_count) as row_count
    from ops.landing_files
    where feed = 'usage' and event_date between $min_date and $max_date
    group by all
),

calls as (
    select
        source_name,
        event_date,
        count(*) as row_count
    from marts.fct_calls
    where event_date between $min_date and $max_date
    group by all
),

rejected as (
    select
        source_name,
        event_date,
        count(*) as row_count
    from intermediate.int_usage__calls_rejected
    where event_date between $min_date and $max_date
    group by all
),

not_calls as (
    select
        source_name,
        event_date,
        record_count as row_count
    from intermediate.int_usage__records_not_calls
    where event_date between $min_date and $max_date
),

compared as (
    select
        source_name,
        event_date,
        coalesce(landed.row_count, 0) as landed_row_count,
        coalesce(calls.row_count, 0) as call_row_count,
        coalesce(rejected.row_count, 0) as rejected_row_count,
        coalesce(not_calls.row_count, 0) as not_call_row_count
    from landed
    full join calls using (source_name, event_date)
    full join rejected using (source_name, event_date)
    full join not_calls using (source_name, event_date)
    union all
    select
        'all sources' as source_name,
        null as event_date,
        (select coalesce(sum(row_count), 0) from landed) as landed_row_count,
        (select coalesce(sum(row_count), 0) from calls) as call_row_count,
        (select coalesce(sum(row_count), 0) from rejected) as rejected_row_count,
        (select coalesce(sum(row_count), 0) from not_calls) as not_call_row_count
)

select
    *,
    1 as evaluated_count,
    cast(landed_row_count <> call_row_count + rejected_row_count + not_call_row_count as integer) as violation_count
from compared
order by source_name, event_date
