"""Trying the configured sources without landing anything: credentials, reach, one page, and what to fix.

A connector that asks a system says itself what it tries; of any other the first records of the first input are read.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from dagster_project.errors import PermanentSourceError
from dagster_project.settings import Settings
from dagster_project.sources import discover
from dagster_project.sources._connector import Connector, PullContext, SourceOptions
from dagster_project.warehouse.landing import LandingZone, failure_message


@dataclass(frozen=True)
class SourceCheck:
    """What was found of a source: whether it can be pulled, and in one line what was seen or what to fix."""

    name: str
    kind: str
    is_good: bool
    text: str


def check_sources(settings: Settings, sources: Sequence[SourceOptions]) -> Iterator[SourceCheck]:
    """Try sources one after the other.

    Args:
        settings: The configuration.
        sources: Those of its sources that are tried.
    """
    now = (settings.as_of or datetime.now(UTC)).astimezone(UTC)
    zone = LandingZone(settings.landing_dir)
    for options in sources:
        connector = discover()[options.kind]
        with tempfile.TemporaryDirectory() as folder:
            context = PullContext(now, Path(folder), settings.reference_dir)
            try:
                context = replace(context, landed=zone.landed_inputs(connector, options))
                said = connector.check(options, context) if connector.check else None
                text = said if said is not None else _read_first(connector, options, context)
            except Exception as error:  # noqa: BLE001 - one source does not stop the others, whatever is wrong with it
                text = failure_message(error, f"Tried {options.name}")
                yield SourceCheck(options.name, options.kind, is_good=False, text=" ".join(text.split()))
            else:
                yield SourceCheck(options.name, options.kind, is_good=True, text=text)


def _read_first(connector: Connector, options: SourceOptions, context: PullContext) -> str:
    """Read the first records of the first input.

    Raises:
        PermanentSourceError: there is no input, or not one of the records can be read.
        TransientSourceError: it cannot be read now.
    """
    pull = next(connector.read(options, context), None)
    if pull is None:
        msg = f"Listed the inputs of {options.name}: there is none, expected at least one. Correct its options."
        raise PermanentSourceError(msg)
    pull.identify()
    batch = next(iter(pull.batches()), None)
    if batch is None:
        return f"{pull.input_uri}: no record"
    rejected = len(batch.rejects)
    if rejected and rejected == batch.rows_read:
        msg = (
            f"Read {pull.input_uri}: none of the first {rejected} records can be read; the first one: "
            f"{batch.rejects[0].reason}. Correct the options of {options.name}, or deliver what they say."
        )
        raise PermanentSourceError(msg)
    return f"{pull.input_uri}: {batch.rows_read - rejected} of the first {batch.rows_read} records can be read"
