"""KPI scores in tables: CSV, Parquet or JSON Lines with one score per record, mapped by column name."""

from collections.abc import Iterator
from pathlib import Path

from dagster_project.sources._connector import Batch, Connector, InputPull, PullContext
from dagster_project.sources._files import file_inputs
from dagster_project.sources._kpis import SCORES, KpiOptions, score_batches
from dagster_project.sources._tabular import MappedTableOptions


class KpiFilesOptions(KpiOptions, MappedTableOptions):
    """Options of tables of KPI scores."""


def _read(options: KpiFilesOptions, context: PullContext) -> Iterator[InputPull]:
    def read(path: Path, input_uri: str) -> Iterator[Batch]:
        return score_batches(path, input_uri, options)

    return file_inputs(options, context, read)


connector = Connector(kind="kpi_files", feed="kpis", entities=(SCORES,), options=KpiFilesOptions, read=_read)
