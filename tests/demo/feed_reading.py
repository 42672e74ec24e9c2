"""Reads the demo's feed files the plain way, knowing nothing of the generator: an independent recount."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl


@dataclass(frozen=True)
class Span:
    """One span of an OTLP file; attributes are flattened, integers are text as the protocol has them."""

    file: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    attributes: dict[str, Any]

    @property
    def operation(self) -> str:
        """The GenAI operation."""
        return str(self.attributes["gen_ai.operation.name"])

    def tokens(self, *names: str) -> int:
        """The first of several spellings of a count; 0 when none is there."""
        return next((int(self.attributes[name]) for name in names if name in self.attributes), 0)

    @property
    def prompt_tokens(self) -> int:
        """Input tokens, cached ones included."""
        return self.tokens("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")

    @property
    def cached_tokens(self) -> int:
        """Cached input tokens."""
        return self.tokens("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens")

    @property
    def completion_tokens(self) -> int:
        """Output tokens, reasoning included."""
        return self.tokens("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")


def table(folder: Path, pattern: str) -> pl.DataFrame:
    """Read all files that match, with their names in `file`."""
    frames = []
    for path in sorted(folder.glob(pattern)):
        reader = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".jsonl": pl.read_ndjson}[path.suffix]
        options = {"infer_schema_length": None} if path.suffix != ".parquet" else {}
        frames.append(reader(path, **options).with_columns(file=pl.lit(path.name)))
    return pl.concat(frames, how="vertical_relaxed")


def otlp_lines(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (file name, line) of every OTLP file."""
    for path in sorted((folder / "otel").iterdir()):
        content = path.read_bytes()
        text = gzip.decompress(content) if path.suffix == ".gz" else content
        for line in text.decode().splitlines():
            yield path.name, line


def spans(folder: Path) -> tuple[list[Span], int]:
    """Return every delivered span and the number of lines that are not JSON."""
    found, broken = [], 0
    for file, line in otlp_lines(folder):
        try:
            request = json.loads(line)
        except json.JSONDecodeError:
            broken += 1
            continue
        for resource in request["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                found.extend(_span(file, span) for span in scope["spans"])
    return found, broken


def _span(file: str, span: dict[str, Any]) -> Span:
    attributes = {}
    for item in span["attributes"]:
        ((kind, value),) = item["value"].items()
        if kind == "intValue":
            assert isinstance(value, str), "the protocol writes 64-bit integers as text"
        attributes[item["key"]] = value
    return Span(
        file,
        span["traceId"],
        span["spanId"],
        span["parentSpanId"],
        int(span["startTimeUnixNano"]),
        attributes,
    )
