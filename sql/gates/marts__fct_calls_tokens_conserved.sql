-- Per source and day: the tokens that calls reported when they landed are those of the ledger and of the rejects.
with

reported as (
    select
        source_name,
        event_date,
        sum(reported_input_tokens) as input_tokens,
        sum(reported_output_tokens) as output_tokens
    from intermediate.int_usage__calls_reported
    where event_date between $min_date and $max_date
    group by all
),

wide_kinds as (
    select
        source_name,
        event_date,
        sum(
            input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens + input_audio_tokens
            + input_image_tokens + embedding_tokens
        ) as input_tokens,
        sum(output_tokens + reasoning_tokens + output_audio_tokens) as output_tokens
    from marts.fct_calls
    where event_date between $min_date and $max_date
    group by all
),

other_units as (
    select
        source_name,
        event_date,
        unnest(map_keys(other_units)) as unit_kind,
        unnest(map_values(other_units)) as quantity_units
    from marts.fct_calls
    where event_date between $min_date and $max_date and other_units is not null
),

other_kinds as (
    select
        other_units.source_name,
        other_units.event_date,
        sum(case when unit_kinds.direction_type = 'input' then other_units.quantity_units end) as input_tokens,
        sum(case when unit_kinds.direction_type = 'output' then other_units.quantity_units end) as output_tokens
    from other_units
    inner join reference.seed_unit_kinds as unit_kinds using (unit_kind)
    where unit_kinds.is_token
    group by all
),

calls as (
    select
        source_name,
        event_date,
        coalesce(wide_kinds.input_tokens, 0) + coalesce(other_kinds.input_tokens, 0) as input_tokens,
        coalesce(wide_kinds.output_tokens, 0) + coalesce(other_kinds.output_tokens, 0) as output_tokens
    from wide_kinds
    left join other_kinds using (source_name, event_date)
),

rejected as (
    select
        source_name,
        event_date,
        sum(reported_input_tokens) as input_tokens,
        sum(reported_output_tokens) as output_tokens
    from intermediate.int_usage__calls_rejected
    where event_date between $min_date and $max_date
    group by all
),

compared as (
    select
        source_name,
        event_date,
        coalesce(reported.input_tokens, 0) as reported_input_tokens,
        coalesce(calls.input_tokens, 0) + coalesce(rejected.input_tokens, 0) as ledger_input_tokens,
        coalesce(reported.output_tokens, 0) as reported_output_tokens,
        coalesce(calls.output_tokens, 0) + coalesce(rejected.output_tokens, 0) as ledger_output_tokens
    from reported
    full join calls using (source_name, event_date)
    full join rejected using (source_name, event_date)
    union all
    select
        'all sources' as source_name,
        null as event_date,
        (select coalesce(sum(input_tokens), 0) from reported) as reported_input_tokens,
        (select coalesce(sum(input_tokens), 0) from calls)
        + (select coalesce(sum(input_tokens), 0) from rejected) as ledger_input_tokens,
        (select coalesce(sum(output_tokens), 0) from reported) as reported_output_tokens,
        (select coalesce(sum(output_tokens), 0) from calls)
        + (select coalesce(sum(output_tokens), 0) from rejected) as ledger_output_tokens
)

select
    *,
    1 as evaluated_count,
    cast(
        reported_input_tokens <> ledger_input_tokens or reported_output_tokens <> ledger_output_tokens as integer
    ) as violation_count
from compared
order by source_name, event_date
