"""Where Dagster keeps its events: SQLite files, as by default, over connections that stay open.

Dagster opens a connection for each event, of which a run has thousands. Here each file's connection is kept.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Self

from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import QueuePool

_KEPT_FILES = 4


class KeptSqliteEventLogStorage(SqliteEventLogStorage):
    """Dagster's event log in SQLite; named in `dagster.yaml`.

    Args:
        base_dir: Folder of the files: one per run, and the index.
        inst_data: How Dagster made it.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        super().__init__(base_dir=base_dir, inst_data=inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:  # noqa: ANN401
        """Make it from what `dagster.yaml` says."""
        return cls(inst_data=inst_data, **config_value)

    def run_connection(self, run_id: str | None = None) -> Any:  # noqa: ANN401 - as Dagster declares it
        """Give a connection to a run's file."""
        return self._kept_connection(run_id or INDEX_SHARD_NAME)

    def index_connection(self) -> AbstractContextManager[Connection]:
        """Give a connection to the index."""
        return self._kept_connection(INDEX_SHARD_NAME)

    @contextlib.contextmanager
    def _kept_connection(self, shard: str) -> Iterator[Connection]:
        if shard not in self._initialized_dbs:
            with self._connect(shard):
                pass
        with self._db_lock, self._engine(shard).connect() as connection, connection.begin():
            yield connection

    def _engine(self, shard: str) -> Engine:
        if shard not in self._engines:
            self._engines[shard] = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=QueuePool,
                pool_size=1,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
            )
        self._engines.move_to_end(shard)
        if len(self._engines) > _KEPT_FILES:
            _, oldest = self._engines.popitem(last=False)
            oldest.dispose()
        return self._engines[shard]

    def dispose(self) -> None:
        """Close the connections."""
        while self._engines:
            self._engines.popitem()[1].dispose()
        super().dispose()
