"""What was published of each billing period, and the one status that only publishing knows: restated.

`ops.published_billing_periods` only grows. A publication adds the periods whose status or figures differ from what
was last published of them. A period that was published as final and is then built with other figures is restated, and
stays so: what finance has read as closed does not change without saying so.
"""

from datetime import datetime
from pathlib import Path

import duckdb

from dagster_project.publish._memory import forget, recall

_TABLE = "published_billing_periods"

_DDL = """
create schema if not exists ops;
create table if not exists ops.published_billing_periods (
    provider_name varchar not null,
    billing_account_id varchar,
    billing_period_start_date date not null,
    billing_period_end_date date not null,
    document_type varchar,
    status_type varchar not null,
    invoice_usd decimal(38, 18),
    ledger_usd decimal(38, 18),
    explained_usd decimal(38, 18),
    unexplained_usd decimal(38, 18),
    published_at timestamptz not null
);
comment on table ops.published_billing_periods is
    'One row per publication of a billing period whose status or figures had changed: as it was published then';
"""

_MARK_SQL = """
update marts.rpt_billing_periods as period
set status_type = 'restated'
from (
    from ops.published_billing_periods
    where status_type in ('final', 'restated')
    qualify row_number() over (
        partition by provider_name, billing_account_id, billing_period_start_date order by published_at desc
    ) = 1
) as closed
where
    period.status_type = 'final'
    and period.provider_name = closed.provider_name
    and period.billing_account_id is not distinct from closed.billing_account_id
    and period.billing_period_start_date = closed.billing_period_start_date
    and (
        closed.status_type = 'restated'
        or period.invoice_usd is distinct from closed.invoice_usd
        or period.ledger_usd is distinct from closed.ledger_usd
        or period.explained_usd is distinct from closed.explained_usd
    )
"""

_NEW_PERIODS_SQL = """
insert into ops.published_billing_periods

with

present as (
    select
        provider_name, billing_account_id, billing_period_start_date, billing_period_end_date, document_type,
        status_type, invoice_usd, ledger_usd, explained_usd, unexplained_usd
    from marts.rpt_billing_periods
),

believed as (
    select * exclude (published_at)
    from ops.published_billing_periods
    qualify row_number() over (
        partition by provider_name, billing_account_id, billing_period_start_date order by published_at desc
    ) = 1
)

select *, $published_at
from (from present except from believed)
order by provider_name, billing_account_id, billing_period_start_date
"""


def note_periods(con: duckdb.DuckDBPyConnection, serving_path: Path, *, published_at: datetime) -> int:
    """Mark the periods that are restated, and add those that differ from what was last published of them.

    Args:
        con: The warehouse, writable.
        serving_path: The published file, which may not exist yet.
        published_at: When the file is built that will hold them.

    Returns:
        Number of rows added.
    """
    recall(con, serving_path, _TABLE, _DDL)
    con.execute(_MARK_SQL)
    [(count,)] = con.execute(_NEW_PERIODS_SQL, {"published_at": published_at}).fetchall()
    return int(count)


def take_back(con: duckdb.DuckDBPyConnection, *, published_at: datetime) -> None:
    """Remove what was added for a publication that did not happen."""
    forget(con, _TABLE, published_at=published_at)
