"""What was published of each day's spend, and when: a day that is built again does not forget what it was.

`ops.published_spend` only grows. A publication adds the days whose figures differ from what was last published
of them, each day as a whole; a day that has no calls any more is one row without a provider. What was believed at an
instant is, of each day, the rows of its latest publication until then. The table is published too, so a
warehouse that is built from nothing takes it over from the serving file.
"""

from datetime import datetime
from pathlib import Path

import duckdb

from dagster_project.publish._memory import forget, recall
from dagster_project.warehouse.calendar import Window

_TABLE = "published_spend"

_DDL = """
create schema if not exists ops;
create table if not exists ops.published_spend (
    event_date date not null,
    provider_name varchar,
    model_name varchar,
    call_count bigint not null,
    unpriced_call_count bigint not null,
    list_cost_usd decimal(38, 15),
    contracted_cost_usd decimal(38, 15),
    effective_cost_usd decimal(38, 15),
    published_at timestamptz not null
);
comment on table ops.published_spend is
    'One row per publication of a day, provider and model: the spend as it was published then';
"""

_NEW_DAYS_SQL = """
insert into ops.published_spend

with

built as (
    select
        event_date,
        provider_name,
        model_name,
        cast(sum(call_count) as bigint) as call_count,
        cast(sum(unpriced_call_count) as bigint) as unpriced_call_count,
        cast(sum(list_cost_usd) as decimal(38, 15)) as list_cost_usd,
        cast(sum(contracted_cost_usd) as decimal(38, 15)) as contracted_cost_usd,
        cast(sum(effective_cost_usd) as decimal(38, 15)) as effective_cost_usd
    from marts.rpt_daily_spend
    where event_date between $first and $last
    group by event_date, provider_name, model_name
),

believed as (
    select * exclude (published_at)
    from ops.published_spend
    where event_date between $first and $last
    qualify published_at = max(published_at) over (partition by event_date)
),

present as (
    from built
    union all
    select distinct event_date, null, null, 0, 0, null, null, null
    from believed
    where event_date not in (select event_date from built)
),

changed as (
    select event_date from (from present except from believed)
    union
    select event_date from (from believed except from present)
)

select present.*, $published_at
from present
where event_date in (select event_date from changed)
order by event_date, provider_name, model_name
"""


def note_spend(con: duckdb.DuckDBPyConnection, serving_path: Path, window: Window, *, published_at: datetime) -> int:
    """Add the days of a window whose figures differ from what was last published of them.

    What an earlier run added and then did not publish is taken back first: it is later than the published file.

    Args:
        con: The warehouse, writable.
        serving_path: The published file, which may not exist yet.
        window: The days that were built.
        published_at: When the file is built that will hold them.

    Returns:
        Number of rows added.
    """
    recall(con, serving_path, _TABLE, _DDL)
    [(count,)] = con.execute(
        _NEW_DAYS_SQL, {"first": window.first_date, "last": window.last_date, "published_at": published_at}
    ).fetchall()
    return int(count)


def take_back(con: duckdb.DuckDBPyConnection, *, published_at: datetime) -> None:
    """Remove what was added for a publication that did not happen."""
    forget(con, _TABLE, published_at=published_at)
