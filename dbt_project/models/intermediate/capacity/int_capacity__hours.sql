{{ config(materialized='view') }}

-- A commitment costs money on a day without calls too; it stops at the last instant that is known.
with

digits as (
    {%- for digit in range(10) %}
    select {{ digit }} as digit{{ ' union all' if not loop.last }}
    {%- endfor %}
),

bounds as (
    select
        greatest(
            {{ window_start() }},
            cast('{{ var("calendar_start_date") }}' as date),
            min(cast(starts_at as date))
        ) as first_date,
        least({{ window_end() }}, max(cast(ends_at as date))) as last_date
    from {{ ref('seed_commitments') }}
),

hours as (
    select tens.digit * 10 + ones.digit as hour_of_day
    from digits as tens
    cross join digits as ones
    where tens.digit * 10 + ones.digit < 24
),

offsets as (
    select thousands.digit * 1000 + hundreds.digit * 100 + tens.digit * 10 + ones.digit as day_offset
    from digits as thousands
    cross join digits as hundreds
    cross join digits as tens
    cross join digits as ones
),

spine as (
    select
        cast(bounds.first_date + offsets.day_offset * interval '1 day' as date) as event_date,
        cast(bounds.first_date + offsets.day_offset * interval '1 day' as timestamp with time zone)
        + hours.hour_of_day * interval '1 hour' as hour_at
    from bounds
    inner join offsets on bounds.first_date + offsets.day_offset * interval '1 day' <= bounds.last_date
    cross join hours
),

final as (
    select *
    from spine
    where hour_at < cast('{{ var("calendar_end_at") }}' as timestamp with time zone)
)

select * from final
