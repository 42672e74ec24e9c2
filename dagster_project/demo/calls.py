"""The common shape of generated calls, and the sums that invoices and truths are made of.

Each team's module gives its good calls of a day as a frame with the columns `CALL_COLUMNS`; token columns are
disjoint. `UsageLedger` adds them up exactly. The team's own file layout is not known here.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from dagster_project.demo import company
from dagster_project.demo.plan import Bools, Floats, Ints
from dagster_project.demo.truths import TokenTotals

CHAT: Final = "chat"
EMBEDDINGS: Final = "embeddings"

ON_DEMAND: Final = "on_demand"
PROVISIONED: Final = "provisioned"
UNPRICED: Final = "unpriced"

CALL_COLUMNS: Final = [
    "called_us",
    "call_id",
    "provider_name",
    "model_name",
    "service_tier",
    "operation_name",
    "billing",
    "use_case_id",
    "use_case_version",
    "use_case_instance_id",
    "input_tokens",
    "cache_read_tokens",
    "output_tokens",
    "reasoning_tokens",
    "is_success",
    "error_type",
]

Column = Ints | Floats | Bools | pl.Series | str

_ERRORS: Final = pl.Series(["rate_limit_exceeded", "server_error", "timeout"], dtype=pl.String)


class UsageKey(NamedTuple):
    """What a price depends on, but the date."""

    provider_name: str
    model_name: str
    service_tier: str
    operation_name: str
    billing: str


class Usage(NamedTuple):
    """Calls and disjoint tokens of one key on one day."""

    call_count: int
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    reasoning_tokens: int

    def plus(self, other: "Usage") -> "Usage":
        """Add two usages."""
        return Usage(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


NO_USAGE: Final = Usage(0, 0, 0, 0, 0)


@dataclass(frozen=True)
class DayOfCalls:
    """One team's good calls of one day and the use-case instances that they make up.

    Attributes:
        day: 0-based day.
        calls: One row per call: `CALL_COLUMNS` and the team's own columns.
        instances: One row per instance: use_case_id, use_case_version, use_case_instance_id, ended_us.
    """

    day: int
    calls: pl.DataFrame
    instances: pl.DataFrame


class UsageLedger:
    """Exact sums of all good calls by price key and day, by team, and by source."""

    def __init__(self) -> None:
        self._usage: dict[tuple[UsageKey, int], Usage] = {}
        self._by_team: dict[str, dict[str, Usage]] = defaultdict(lambda: defaultdict(lambda: NO_USAGE))
        self.calls_by_source: dict[str, int] = defaultdict(int)
        self.instances_by_use_case: dict[str, int] = defaultdict(int)

    def add(self, team_name: str, source_name: str, day: DayOfCalls) -> None:
        """Add one team's good calls of one day."""
        for key, usage in usage_of(day.calls):
            place = (key, day.day)
            self._usage[place] = self._usage.get(place, NO_USAGE).plus(usage)
            by_operation = self._by_team[team_name]
            by_operation[key.operation_name] = by_operation[key.operation_name].plus(usage)
        self.calls_by_source[source_name] += day.calls.height
        for use_case_id, count in day.instances.group_by("use_case_id").len().sort("use_case_id").iter_rows():
            self.instances_by_use_case[use_case_id] += count

    def billed(self) -> Iterator[tuple[UsageKey, int, Usage]]:
        """Yield what providers bill by the call: key, 0-based day, usage; in a fixed order."""
        for (key, day), usage in sorted(self._usage.items()):
            if key.billing == ON_DEMAND:
                yield key, day, usage

    def totals_by_team(self) -> dict[str, TokenTotals]:
        """Return calls and disjoint tokens per team."""
        return {team: _totals(by_operation) for team, by_operation in sorted(self._by_team.items())}

    def totals(self) -> TokenTotals:
        """Return calls and disjoint tokens of all teams."""
        company_wide: dict[str, Usage] = defaultdict(lambda: NO_USAGE)
        for by_operation in self._by_team.values():
            for operation, usage in by_operation.items():
                company_wide[operation] = company_wide[operation].plus(usage)
        return _totals(company_wide)


def usage_of(calls: pl.DataFrame) -> Iterator[tuple[UsageKey, Usage]]:
    """Sum calls and tokens per price key."""
    keys = list(UsageKey._fields)
    sums = calls.group_by(keys).agg(pl.len().alias("call_count"), pl.col(Usage._fields[1:]).sum()).sort(keys)
    for row in sums.iter_rows():
        provider, model, *rest = row[: len(keys)]
        key = UsageKey(provider, company.PRICED_MODELS.get(model, model), *rest)
        yield key, Usage(*row[len(keys) :])


def frame(**columns: Column) -> pl.DataFrame:
    """Build rows from arrays, series and texts; a text is the same in every row."""
    texts = {name: pl.lit(value) for name, value in columns.items() if isinstance(value, str)}
    arrays = {name: value for name, value in columns.items() if not isinstance(value, str)}
    return pl.DataFrame(arrays).with_columns(**texts)


def instances(use_case_id: str, versions: pl.Series | str, ids: pl.Series, ended_us: Ints) -> pl.DataFrame:
    """Build the rows of use-case instances in one column order."""
    rows = frame(use_case_id=use_case_id, use_case_version=versions, use_case_instance_id=ids, ended_us=ended_us)
    return rows.select("use_case_id", "use_case_version", "use_case_instance_id", "ended_us")


def numbered_ids(prefix: str, numbers: Ints, width: int = 7) -> pl.Series:
    """Return ids `<prefix><zero-padded number>`."""
    return (
        pl.DataFrame({"n": numbers}).select(pl.lit(prefix) + pl.col("n").cast(pl.String).str.zfill(width)).to_series()
    )


def choose(flags: Bools, if_true: str, if_false: str) -> pl.Series:
    """Return one of two texts per row."""
    return pl.Series([if_false, if_true], dtype=pl.String).gather(flags.astype(np.uint32))


def error_types(rng: np.random.Generator, failed: Bools) -> pl.Series:
    """Return an error type for each failed call, null for the others."""
    kinds = _ERRORS.gather(rng.integers(0, len(_ERRORS), len(failed)).astype(np.uint32))
    return pl.DataFrame({"kind": kinds, "failed": failed}).select(pl.when("failed").then("kind")).to_series()


def _totals(by_operation: dict[str, Usage]) -> TokenTotals:
    chat = by_operation.get(CHAT, NO_USAGE)
    embeddings = by_operation.get(EMBEDDINGS, NO_USAGE)
    return TokenTotals(
        call_count=chat.call_count + embeddings.call_count,
        input_tokens=chat.input_tokens,
        cache_read_tokens=chat.cache_read_tokens,
        output_tokens=chat.output_tokens,
        reasoning_tokens=chat.reasoning_tokens,
        embedding_tokens=embeddings.input_tokens,
    )
