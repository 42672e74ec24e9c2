"""What changed since the last build, and so which days must be built again.

The warehouse remembers what it has seen: landing files, rates, reference data. New content is compared with that
memory, and each difference becomes a request for exactly the days it touches, in the transaction that updates the
memory; a crash between the two is impossible. A build closes the requests of its days.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import cast

import duckdb
import pyarrow as pa

from dagster_project.sources._connector import Connector
from dagster_project.warehouse.calendar import Calendar, Window, contiguous_ranges
from dagster_project.warehouse.landing import Landing

_DDL = """
create table if not exists ops.seen_files (
    kind varchar, entity varchar, source_name varchar, feed varchar, file_sha256 varchar, event_date date
);
create table if not exists ops.seen_rate_cards (
    reported_provider_name varchar, reported_model_name varchar, service_tier varchar, region_key varchar,
    context_over_tokens bigint, context_up_to_tokens bigint, week_minute_from integer, week_minute_to integer,
    rate_card_key varchar, valid_from_at timestamptz, valid_to_at timestamptz
);
create table if not exists ops.seen_pricing (sha256 varchar);
create table if not exists ops.seen_reference (file_name varchar, sha256 varchar);
create table if not exists ops.restatements (
    event_date date, reason varchar, requested_at timestamptz, attempted_at timestamptz, built_at timestamptz
);
"""

_CARD_COLUMNS = """
reported_provider_name, reported_model_name, service_tier, region_key, context_over_tokens, context_up_to_tokens,
week_minute_from, week_minute_to, rate_card_key, valid_from_at, valid_to_at
"""

# What prices a call: the cards of its model, and the free allowances in which the model shares.
_CURRENT_CARDS_SQL = f"""
    select {_CARD_COLUMNS} from intermediate.int_pricing__rate_cards
    union all
    select
        reported_provider_name, reported_model_name, service_tier, region_key, -1, null, 0, 10080,
        md5(concat_ws(
            '|', reported_provider_name, reported_model_name, service_tier, region_key, allowance_key, allowance_units
        )),
        valid_from_at, valid_to_at
    from intermediate.int_pricing__allowances
"""

# Days on which the cards of a model that was called are not those that priced its calls. A card's key is made of its
# prices and what they rest on; what of its interval lies outside the day plays no part.
_REPRICED_DAYS_SQL = f"""
with

called as (
    select distinct
        event_date,
        cast(event_date as timestamptz) as begins_at,
        cast(event_date + 1 as timestamptz) as ends_at,
        provider_name,
        model_name,
        service_tier,
        coalesce(lower(region_id), '') as region_key
    from intermediate.int_usage__models_reported
),

cards as (
    select *, true as is_current from ({_CURRENT_CARDS_SQL})
    union all
    select {_CARD_COLUMNS}, false as is_current from ops.seen_rate_cards
),

held as (
    select
        called.event_date,
        cards.is_current,
        concat_ws(
            '|', cards.context_over_tokens, cards.context_up_to_tokens, cards.week_minute_from, cards.week_minute_to,
            cards.rate_card_key, greatest(cards.valid_from_at, called.begins_at),
            least(cards.valid_to_at, called.ends_at)
        ) as content
    from called
    inner join cards
        on called.provider_name = cards.reported_provider_name
        and called.model_name = cards.reported_model_name
        and called.service_tier = cards.service_tier
        and called.region_key = cards.region_key
        and cards.valid_from_at < called.ends_at
        and cards.valid_to_at > called.begins_at
)

select event_date
from held
group by event_date, content
having bool_and(is_current) or not bool_or(is_current)
"""

# The requested days, and those after them in a month in which some allowance of a month holds.
_ALLOWANCE_DAYS_SQL = """
with

requested as (
    select cast(unnest($days) as date) as requested_date
),

monthly as (
    select distinct valid_from_at, valid_to_at
    from intermediate.int_pricing__allowances
    where period_type = 'month'
),

rest as (
    select requested_date, unnest(generate_series(requested_date, last_day(requested_date), interval 1 day)) as later_at
    from requested
    where exists (
        select 1
        from monthly
        where
            monthly.valid_from_at < cast(last_day(requested.requested_date) + 1 as timestamptz)
            and monthly.valid_to_at > cast(requested.requested_date as timestamptz)
    )
)

select requested_date from requested
union
select cast(later_at as date) from rest
"""


def create_tables(con: duckdb.DuckDBPyConnection) -> None:
    """Create the memory and the requests where they are absent."""
    con.execute(_DDL)


def note_landings(
    con: duckdb.DuckDBPyConnection,
    connector: Connector,
    landings: Iterable[Landing],
    *,
    calendar: Calendar,
    now: datetime,
) -> list[date]:
    """Compare a connector's current landings with what was seen, and request the days that differ.

    Args:
        con: The warehouse; its raw views already show the landings.
        connector: Whose landings they are.
        landings: All its current landings.
        calendar: The days that exist.
        now: When the requests count as made.

    Returns:
        The requested days, sorted.
    """
    create_tables(con)
    con.execute("begin")
    try:
        changed = _changed_file_days(con, connector.kind, _files(landings))
        days: set[date] = set().union(*changed.values())
        if connector.feed == "capacity":
            # What is deployed holds until something else is known.
            days |= {day for day in calendar.days() if day >= min(changed.get("deployments", ()), default=date.max)}
        if connector.feed == "kpis":
            days |= _instance_days(con, connector, days)
        requested = sorted({calendar.clamp(day) for day in days})
        if connector.feed == "usage":
            requested = _with_later_days_of_allowances(con, requested, calendar)
        _request(con, requested, f"{connector.feed} of {connector.kind} changed", now)
        con.execute("commit")
    except BaseException:
        con.execute("rollback")
        raise
    return requested


def is_priced_from(con: duckdb.DuckDBPyConnection, pricing_sha256: str) -> bool:
    """Whether the rate cards were last compared when rates, reference data and models were what they are now."""
    create_tables(con)
    return con.execute("select sha256 from ops.seen_pricing").fetchall() == [(pricing_sha256,)]


def note_rate_cards(
    con: duckdb.DuckDBPyConnection, pricing_sha256: str, *, calendar: Calendar, now: datetime
) -> list[date]:
    """Compare the rate cards with those that priced the ledger, and request the days on which a call's card changed.

    Args:
        con: The warehouse; its rate cards are built from what is known now.
        pricing_sha256: Hash of what they are built from.
        calendar: The days that exist.
        now: When the requests count as made.

    Returns:
        The requested days, sorted; empty while no call was ever priced.
    """
    create_tables(con)
    con.execute("begin")
    try:
        requested: list[date] = []
        if has_rate_cards(con):
            rows = con.execute(_REPRICED_DAYS_SQL).fetchall()
            requested = _with_later_days_of_allowances(con, [calendar.clamp(row[0]) for row in rows], calendar)
            con.execute("delete from ops.seen_rate_cards")
            con.execute(f"insert into ops.seen_rate_cards {_CURRENT_CARDS_SQL}")
        con.execute("delete from ops.seen_pricing")
        con.execute("insert into ops.seen_pricing values (?)", [pricing_sha256])
        _request(con, requested, "prices changed", now)
        con.execute("commit")
    except BaseException:
        con.execute("rollback")
        raise
    return requested


def note_new_models(con: duckdb.DuckDBPyConnection) -> None:
    """Remember the cards of the models that the ledger now holds and that no comparison has seen."""
    create_tables(con)
    if has_rate_cards(con):
        con.execute(
            f"""
            insert into ops.seen_rate_cards
            select cards.*
            from ({_CURRENT_CARDS_SQL}) as cards
            anti join ops.seen_rate_cards as seen
                using (reported_provider_name, reported_model_name, service_tier, region_key)
            """
        )


def has_rate_cards(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether a build has ever made rate cards."""
    return _exists(con, "intermediate", "int_pricing__rate_cards")


def note_reference(
    con: duckdb.DuckDBPyConnection, reference_dir: Path, *, calendar: Calendar, now: datetime
) -> list[date]:
    """Compare the reference files with those seen; a changed one touches every day, also one that has no calls.

    Returns:
        The requested days, sorted; empty on the first look, when there is nothing built to correct.
    """
    create_tables(con)
    current = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(reference_dir.glob("*.csv"))}
    con.execute("begin")
    try:
        seen = dict(con.execute("select file_name, sha256 from ops.seen_reference").fetchall())
        changed = sorted({name for name, _ in seen.items() ^ current.items()}) if seen else []
        days = list(calendar.days()) if changed else []
        con.execute("delete from ops.seen_reference")
        con.executemany("insert into ops.seen_reference values (?, ?)", [list(item) for item in current.items()])
        _request(con, days, f"reference data changed: {', '.join(changed)}", now)
        con.execute("commit")
    except BaseException:
        con.execute("rollback")
        raise
    return days


def note_days(con: duckdb.DuckDBPyConnection, *, calendar: Calendar, now: datetime) -> list[date]:
    """Request every day of the calendar that was never requested: a day without records costs capacity too.

    Returns:
        The requested days, sorted.
    """
    create_tables(con)
    known = {row[0] for row in con.execute("select distinct event_date from ops.restatements").fetchall()}
    days = [day for day in calendar.days() if day not in known]
    _request(con, days, "new day", now)
    return days


def pending_ranges(con: duckdb.DuckDBPyConnection) -> list[tuple[date, date]]:
    """Give the ranges of days that wait for a build, both ends inclusive, in the order in which they are built.

    The latest comes first: a score of a later day counts for the instance of an earlier one, never the other way.
    After a build that was not published all come as one range: two ranges that were both written and not published
    would each keep the other from being published.
    """
    days = pending_days(con)
    attempted = con.execute(
        "select 1 from ops.restatements where built_at is null and attempted_at is not null limit 1"
    ).fetchone()
    return [(min(days), max(days))] if attempted else contiguous_ranges(days)[::-1]


def pending_days(con: duckdb.DuckDBPyConnection) -> set[date]:
    """Give the days that wait for a build."""
    create_tables(con)
    rows = con.execute("select distinct event_date from ops.restatements where built_at is null").fetchall()
    return {row[0] for row in rows}


def latest_request(con: duckdb.DuckDBPyConnection, first: date, last: date) -> datetime:
    """Give the instant of the latest open request for a day of a pending range, both ends inclusive."""
    [(requested_at,)] = con.execute(
        """
        select max(requested_at) from ops.restatements
        where built_at is null and event_date between $first and $last
        """,
        {"first": first, "last": last},
    ).fetchall()
    return cast("datetime", requested_at)


def note_attempt(con: duckdb.DuckDBPyConnection, window: Window, *, now: datetime) -> None:
    """Note that the ledger's days of a window are being written: until they are closed they are not fit to publish."""
    create_tables(con)
    con.execute(
        """
        update ops.restatements
        set attempted_at = $now
        where built_at is null and event_date between $first and $last
        """,
        {"now": now, "first": window.first_date, "last": window.last_date},
    )


def unfinished_days(con: duckdb.DuckDBPyConnection, *, outside: Window) -> list[date]:
    """Give the days outside a window whose last build did not end in a publication, in order."""
    create_tables(con)
    rows = con.execute(
        """
        select distinct event_date
        from ops.restatements
        where
            built_at is null
            and attempted_at is not null
            and event_date not between $first and $last
        order by event_date
        """,
        {"first": outside.first_date, "last": outside.last_date},
    ).fetchall()
    return [row[0] for row in rows]


def close_requests(
    con: duckdb.DuckDBPyConnection, window: Window, *, requested_until: datetime, built_at: datetime
) -> None:
    """Mark the requests of a window as built, except those made after the build had begun."""
    con.execute(
        """
        update ops.restatements
        set built_at = $built_at
        where built_at is null and requested_at <= $until and event_date between $first and $last
        """,
        {"built_at": built_at, "until": requested_until, "first": window.first_date, "last": window.last_date},
    )


def published_days(con: duckdb.DuckDBPyConnection) -> dict[date, datetime]:
    """Give, for each day that was ever built, when it was last published."""
    create_tables(con)
    rows = con.execute(
        "select event_date, max(built_at) from ops.restatements where built_at is not null group by event_date"
    ).fetchall()
    return dict(rows)


def _files(landings: Iterable[Landing]) -> list[dict[str, object]]:
    return [
        {
            "kind": landing.kind,
            "entity": landing.entity,
            "source_name": landing.source_name,
            "feed": landing.feed,
            "file_sha256": file.sha256,
            "event_date": file.event_date,
        }
        for landing in landings
        for file in landing.files
    ]


def _changed_file_days(
    con: duckdb.DuckDBPyConnection, kind: str, files: Sequence[dict[str, object]]
) -> dict[str, set[date]]:
    """Give the days of which a kind's files are others than were seen, by entity, and remember these."""
    con.execute("create or replace temp table current_files as select * from ops.seen_files limit 0")
    if files:
        con.register("file_rows", pa.Table.from_pylist(list(files)))
        con.execute("insert into current_files by name select * from file_rows")
        con.unregister("file_rows")
    rows = con.execute(
        """
        select distinct entity, event_date
        from (
            (select * from current_files except select * from ops.seen_files where kind = $kind)
            union all
            (select * from ops.seen_files where kind = $kind except select * from current_files)
        )
        where event_date is not null
        """,
        {"kind": kind},
    ).fetchall()
    con.execute("delete from ops.seen_files where kind = ?", [kind])
    con.execute("insert into ops.seen_files select * from current_files")
    days: dict[str, set[date]] = {}
    for entity, day in rows:
        days.setdefault(entity, set()).add(day)
    return days


def _instance_days(con: duckdb.DuckDBPyConnection, connector: Connector, score_days: set[date]) -> set[date]:
    """Give the days on which the instances had begun that are scored on those days, or were when they were built."""
    if not score_days or not _exists(con, "marts", "fct_use_case_instances"):
        return set()
    days: set[date] = set()
    for scores in ("marts.fct_kpi_scores", *(f"raw.raw_{connector.kind}__{item.name}" for item in connector.entities)):
        rows = con.execute(
            f"""
            select distinct instances.started_date
            from {scores} as scores
            inner join marts.fct_use_case_instances as instances
                on scores.use_case_instance_id = instances.use_case_instance_id
                and scores.use_case_id = instances.use_case_id
            where scores.event_date in (select unnest($days))
            """,
            {"days": sorted(score_days)},
        ).fetchall()
        days |= {row[0] for row in rows}
    return days


def _with_later_days_of_allowances(
    con: duckdb.DuckDBPyConnection, days: Sequence[date], calendar: Calendar
) -> list[date]:
    """Add the days whose calls get less, or more, of a month's free units when the calls of an earlier day change."""
    if not days or not _exists(con, "intermediate", "int_pricing__allowances"):
        return list(days)
    rows = con.execute(_ALLOWANCE_DAYS_SQL, {"days": list(days)}).fetchall()
    return sorted({calendar.clamp(row[0]) for row in rows})


def _request(con: duckdb.DuckDBPyConnection, days: Sequence[date], reason: str, now: datetime) -> None:
    if days:
        con.executemany(
            "insert into ops.restatements values (?, ?, ?, null, null)", [[day, reason, now] for day in days]
        )


def _exists(con: duckdb.DuckDBPyConnection, schema: str, table: str) -> bool:
    found = con.execute(
        "select count(*) from information_schema.tables where table_schema = ? and table_name = ?", [schema, table]
    ).fetchone()
    return bool(found and found[0])
