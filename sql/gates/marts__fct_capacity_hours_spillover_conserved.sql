-- Per day, and for the window as a whole: every call that spilled over is in one capacity hour of each commitment that
-- its origin draws on, and so is its work.
with

calls as (
    select
        event_date,
        count(*) as call_count
    from intermediate.int_usage__calls
    where event_date between $min_date and $max_date and is_spillover
    group by grouping sets ((event_date), ())
),

work as (
    select
        event_date,
        count(distinct concat_ws('|', source_name, call_id, event_date)) as call_count,
        count(source_name) as share_count,
        coalesce(sum(work_tokens), 0) as work_tokens
    from intermediate.int_capacity__call_work
    where event_date between $min_date and $max_date and is_spillover
    group by grouping sets ((event_date), ())
),

hours as (
    select
        event_date,
        coalesce(sum(spillover_call_count), 0) as call_count,
        coalesce(sum(spillover_tokens), 0) as work_tokens
    from marts.fct_capacity_hours
    where event_date between $min_date and $max_date
    group by grouping sets ((event_date), ())
)

select
    coalesce(calls.event_date, hours.event_date) as event_date,
    coalesce(calls.call_count, 0) as spilled_call_count,
    coalesce(work.call_count, 0) as weighed_call_count,
    coalesce(work.share_count, 0) as weighed_share_count,
    coalesce(hours.call_count, 0) as hours_call_count,
    coalesce(work.work_tokens, 0) as spilled_tokens,
    coalesce(hours.work_tokens, 0) as hours_tokens,
    1 as evaluated_count,
    cast(
        (spilled_call_count, weighed_share_count, spilled_tokens)
        is distinct from (weighed_call_count, hours_call_count, hours_tokens) as integer
    ) as violation_count
from calls
full join hours on calls.event_date is not distinct from hours.event_date
left join work on coalesce(calls.event_date, hours.event_date) is not distinct from work.event_date
order by event_date
