"""How feed files are written: whole or not at all, and byte-identical for identical rows.

Only formats and file names live here; what is in the rows is the business of each team's module.
"""

import gzip
from pathlib import Path
from typing import Final, Literal

import polars as pl

FeedFormat = Literal["parquet", "csv", "jsonl"]

# Instants are microseconds since 1970 until they are written.
ISO_INSTANT: Final = "%Y-%m-%dT%H:%M:%S%.6fZ"


def write_frame(frame: pl.DataFrame, path: Path, feed_format: FeedFormat) -> None:
    """Write rows to one file under a temporary name, then rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name("." + path.name)
    if feed_format == "parquet":
        frame.write_parquet(temporary, compression="zstd")
    elif feed_format == "csv":
        frame.write_csv(temporary)
    else:
        frame.write_ndjson(temporary)
    temporary.replace(path)


def write_bytes(content: bytes, path: Path) -> None:
    """Write one file under a temporary name, then rename it into place; `.gz` names are compressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name("." + path.name)
    if path.suffix == ".gz":
        # Without a fixed time the same rows would give other bytes on every run.
        content = gzip.compress(content, compresslevel=6, mtime=0)
    temporary.write_bytes(content)
    temporary.replace(path)


def iso(column: str) -> pl.Expr:
    """Format microseconds since 1970 as an ISO 8601 instant with Z."""
    return pl.col(column).cast(pl.Datetime("us")).dt.strftime(ISO_INSTANT)
