"""Agent traces as OTLP/JSON Lines, the way the OpenTelemetry collector's file exporter writes them.

One line is one export request of some spans; 64-bit integers are strings. An `invoke_agent` span repeats the
sums of its calls, so only `chat` spans may be added up. Some days use the attribute names of older
conventions, one file is compressed, some lines are exported twice, and a few are cut off.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl

from dagster_project.demo import calls, company, feed_files
from dagster_project.demo.agents import SOURCE, spans_by_operation
from dagster_project.demo.plan import Plan
from dagster_project.demo.truths import DuplicateTruth, RejectTruth

_SPANS_PER_LINE: Final = 16
_DEPRECATED_EVERY_DAYS: Final = 6
_DEPRECATED_OFFSET: Final = 2
_RESENT_LINES_PER_HUNDRED: Final = 15

_HEAD: Final = (
    '{"resourceSpans":[{"resource":{"attributes":['
    '{"key":"service.name","value":{"stringValue":"contract-review-agents"}},'
    '{"key":"deployment.environment.name","value":{"stringValue":"production"}},'
    f'{{"key":"tokenledger.team.name","value":{{"stringValue":"{company.AGENTS_TEAM}"}}}}]}},'
    '"scopeSpans":[{"scope":{"name":"novaspark.agents","version":"3.2.0"},"spans":['
)
_TAIL: Final = "]}]}]}"

# Attribute names now, and before the conventions were renamed.
_CURRENT: Final = {
    "provider": "gen_ai.provider.name",
    "input": "gen_ai.usage.input_tokens",
    "output": "gen_ai.usage.output_tokens",
    "cache_read": "gen_ai.usage.cache_read.input_tokens",
    "tier": "openai.response.service_tier",
}
_DEPRECATED: Final = {
    "provider": "gen_ai.system",
    "input": "gen_ai.usage.prompt_tokens",
    "output": "gen_ai.usage.completion_tokens",
    "cache_read": "gen_ai.usage.cache_read_input_tokens",
    "tier": "gen_ai.openai.response.service_tier",
}
_OTEL_PROVIDERS: Final = {company.AZURE: "azure.ai.openai"}
_RESOURCE_HOSTS: Final = {
    company.AZURE: "novaspark-prod.openai.azure.com",
    company.OPENAI: "api.openai.com",
}


class OtlpFeed:
    """Writes the agents' trace files and remembers what was planted in them."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._broken_lines = plan.spread(max(2, plan.calls // 100_000), offset=4)
        self._rejected = 0
        self._duplicates: list[DuplicateTruth] = []
        self.deprecated_files: list[str] = []
        self.gzip_file = ""
        self.spans_by_operation: Counter[str] = Counter()

    def write(self, day: calls.DayOfCalls) -> None:
        """Write one day's file, and the second export of some lines of the resend day."""
        date = self._plan.date_of(day.day)
        if day.calls.is_empty():
            return
        is_deprecated = day.day % _DEPRECATED_EVERY_DAYS == _DEPRECATED_OFFSET
        is_gzip = day.day == self._plan.gzip_day
        name = f"agents_{date}.jsonl" + (".gz" if is_gzip else "")
        lines = _lines(day, _DEPRECATED if is_deprecated else _CURRENT)
        texts = lines["line"].to_list()
        broken = [texts[index % len(texts)] for index in range(int(self._broken_lines[day.day]))]
        self._rejected += len(broken)
        self._write_lines(texts + [text[: len(text) // 2] for text in broken], name)
        self.spans_by_operation.update(dict(spans_by_operation(day)))
        if is_deprecated:
            self.deprecated_files.append(f"{self._folder.name}/{name}")
        if is_gzip:
            self.gzip_file = f"{self._folder.name}/{name}"
        if day.day == self._plan.resend_day:
            self._resend(lines, day.day)

    def finish(self) -> Iterator[DuplicateTruth | RejectTruth]:
        """Tell what was planted."""
        yield from self._duplicates
        yield RejectTruth(SOURCE, "broken JSON line", self._rejected)

    def _resend(self, lines: pl.DataFrame, day: int) -> None:
        date = self._plan.date_of(day)
        again = lines.head(max(1, lines.height * _RESENT_LINES_PER_HUNDRED // 100))
        name = f"agents_{date}_resend.jsonl"
        self._write_lines(again["line"].to_list(), name)
        self._duplicates.append(
            DuplicateTruth(
                source_name=SOURCE,
                file=f"{self._folder.name}/{name}",
                day=date,
                call_count=int(again["call_count"].sum()),
                row_count=int(again["span_count"].sum()),
            )
        )

    def _write_lines(self, lines: list[str], name: str) -> None:
        feed_files.write_bytes(("\n".join(lines) + "\n").encode(), self._folder / name)


def _lines(day: calls.DayOfCalls, names: dict[str, str]) -> pl.DataFrame:
    """Return one row per export request: line, span_count, call_count."""
    spans = pl.concat([_call_spans(day.calls, names), _tool_spans(day.calls), _agent_spans(day.calls, names)])
    # The exporter sends spans as they end, so a parent comes after its children, often in another request.
    spans = spans.sort("ended_us", "span_id").with_row_index("place")
    return (
        spans.group_by(pl.col("place") // _SPANS_PER_LINE, maintain_order=True)
        .agg(
            pl.col("span").str.join(","),
            pl.len().alias("span_count"),
            pl.col("is_call").sum().alias("call_count"),
        )
        .select(pl.concat_str(pl.lit(_HEAD), "span", pl.lit(_TAIL)).alias("line"), "span_count", "call_count")
    )


def _call_spans(frame: pl.DataFrame, names: dict[str, str]) -> pl.DataFrame:
    ended = pl.col("called_us") + pl.col("total_ms") * 1000
    attributes = [
        *_call_attributes(names),
        _text("tokenledger.use_case.id", "use_case_id"),
        _text("tokenledger.use_case.version", "use_case_version"),
        _text("tokenledger.use_case.instance_id", "use_case_instance_id"),
        _text("tokenledger.step.name", "step_name"),
        _integer("tokenledger.attempt.index", pl.col("attempt_index")),
        _integer("tokenledger.turn.index", pl.col("turn_index")),
        _optional("deployment_id", _text("tokenledger.deployment.id", "deployment_id")),
        _optional("deployment_id", pl.lit(_attribute("tokenledger.region.id", "stringValue", '"swedencentral"'))),
        pl.when("is_spillover")
        .then(pl.lit(_attribute("tokenledger.is_spillover", "boolValue", "true")))
        .otherwise(pl.lit("")),
    ]
    status = (
        pl.when("is_success")
        .then(pl.lit("{}"))
        .otherwise(pl.concat_str(pl.lit('{"code":2,"message":"'), pl.col("error_type").fill_null(""), pl.lit('"}')))
    )
    return _spans(
        frame,
        operation=calls.CHAT,
        name=pl.concat_str(pl.lit("chat "), "model_name"),
        span_id=pl.col("call_id"),
        parent_id=pl.col("parent_span_id"),
        kind=3,
        started=pl.col("called_us"),
        ended=ended,
        attributes=attributes,
        status=status,
        is_call=True,
    )


def _call_attributes(names: dict[str, str]) -> list[pl.Expr]:
    """Return the attributes of the GenAI conventions: counts include what is cached and what is reasoning."""
    provider = pl.col("provider_name")
    return [
        _text(names["provider"], provider.replace(_OTEL_PROVIDERS)),
        _text("gen_ai.request.model", pl.col("model_name").replace(company.PRICED_MODELS)),
        _text("gen_ai.response.model", "model_name"),
        _text("gen_ai.response.id", pl.concat_str(pl.lit("resp-"), "call_id")),
        _text("gen_ai.conversation.id", "use_case_instance_id"),
        pl.lit(_attribute("gen_ai.agent.id", "stringValue", '"contract-review-v5"')),
        pl.lit(_attribute("gen_ai.agent.name", "stringValue", '"Contract reviewer"')),
        _text("server.address", provider.replace(_RESOURCE_HOSTS)),
        _integer(names["input"], pl.col("input_tokens") + pl.col("cache_read_tokens")),
        _integer(names["output"], pl.col("output_tokens") + pl.col("reasoning_tokens")),
        _integer(names["cache_read"], pl.col("cache_read_tokens")),
        pl.when(pl.col("reasoning_tokens") > 0)
        .then(_integer("gen_ai.usage.reasoning.output_tokens", pl.col("reasoning_tokens")))
        .otherwise(pl.lit("")),
        pl.concat_str(
            pl.lit(',{"key":"gen_ai.response.time_to_first_chunk","value":{"doubleValue":'),
            (pl.col("first_ms") / 1000).round(3).cast(pl.String),
            pl.lit("}}"),
        ),
        pl.when(provider == company.OPENAI)
        .then(pl.lit(_attribute(names["tier"], "stringValue", '"default"')))
        .otherwise(pl.lit("")),
        _optional("error_type", _text("error.type", "error_type")),
    ]


def _tool_spans(frame: pl.DataFrame) -> pl.DataFrame:
    tools = frame.filter(pl.col("tool_name").is_not_null())
    started = pl.col("called_us") + pl.col("total_ms") * 1000
    return _spans(
        tools,
        operation="execute_tool",
        name=pl.concat_str(pl.lit("execute_tool "), "tool_name"),
        span_id=pl.col("tool_span_id"),
        parent_id=pl.col("parent_span_id"),
        kind=1,
        started=started,
        ended=started + pl.col("tool_ms") * 1000,
        attributes=[
            _text("gen_ai.tool.name", "tool_name"),
            pl.lit(_attribute("gen_ai.tool.type", "stringValue", '"function"')),
            _text("tokenledger.use_case.instance_id", "use_case_instance_id"),
            _text("tokenledger.step.name", "step_name"),
        ],
        status=pl.lit("{}"),
        is_call=False,
    )


def _agent_spans(frame: pl.DataFrame, names: dict[str, str]) -> pl.DataFrame:
    """Build the root spans, which repeat the usage of all calls below them."""
    tokens = ["input_tokens", "cache_read_tokens", "output_tokens", "reasoning_tokens"]
    ends = pl.col("called_us") + (pl.col("total_ms") + pl.col("tool_ms")) * 1000
    runs = frame.group_by("parent_span_id", maintain_order=True).agg(
        pl.col("trace_id", "use_case_id", "use_case_version", "use_case_instance_id").first(),
        pl.col(tokens).sum(),
        pl.col("called_us").min().alias("started_us"),
        ends.max().alias("ended_us"),
    )
    return _spans(
        runs,
        operation="invoke_agent",
        name=pl.lit("invoke_agent Contract reviewer"),
        span_id=pl.col("parent_span_id"),
        parent_id=pl.lit(""),
        kind=1,
        started=pl.col("started_us") - 5_000,
        ended=pl.col("ended_us") + 5_000,
        attributes=[
            pl.lit(_attribute(names["provider"], "stringValue", f'"{_OTEL_PROVIDERS[company.AZURE]}"')),
            pl.lit(_attribute("gen_ai.agent.id", "stringValue", '"contract-review-v5"')),
            pl.lit(_attribute("gen_ai.agent.name", "stringValue", '"Contract reviewer"')),
            _text("gen_ai.conversation.id", "use_case_instance_id"),
            _integer(names["input"], pl.col("input_tokens") + pl.col("cache_read_tokens")),
            _integer(names["output"], pl.col("output_tokens") + pl.col("reasoning_tokens")),
            _integer(names["cache_read"], pl.col("cache_read_tokens")),
            _text("tokenledger.use_case.id", "use_case_id"),
            _text("tokenledger.use_case.version", "use_case_version"),
            _text("tokenledger.use_case.instance_id", "use_case_instance_id"),
        ],
        status=pl.lit("{}"),
        is_call=False,
    )


def _spans(
    frame: pl.DataFrame,
    *,
    operation: str,
    name: pl.Expr,
    span_id: pl.Expr,
    parent_id: pl.Expr,
    kind: int,
    started: pl.Expr,
    ended: pl.Expr,
    attributes: list[pl.Expr],
    status: pl.Expr,
    is_call: bool,
) -> pl.DataFrame:
    """Write each row as one span; columns span_id, ended_us, is_call, span. Attributes begin with a comma."""
    text = pl.concat_str(
        pl.lit('{"traceId":"'),
        pl.col("trace_id"),
        pl.lit('","spanId":"'),
        span_id,
        pl.lit('","parentSpanId":"'),
        parent_id,
        pl.lit('","name":"'),
        name,
        pl.lit(f'","kind":{kind},"startTimeUnixNano":"'),
        started.cast(pl.String),
        pl.lit('000","endTimeUnixNano":"'),
        ended.cast(pl.String),
        pl.lit('000","attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"' + operation + '"}}'),
        *attributes,
        pl.lit('],"status":'),
        status,
        pl.lit("}"),
    )
    return frame.select(span_id=span_id, ended_us=ended, is_call=pl.lit(is_call), span=text)


def _attribute(key: str, value_type: str, value_json: str) -> str:
    return f',{{"key":"{key}","value":{{"{value_type}":{value_json}}}}}'


def _text(key: str, value: str | pl.Expr) -> pl.Expr:
    """Write a text attribute; the demo's texts need no JSON escapes."""
    return pl.concat_str(pl.lit(f',{{"key":"{key}","value":{{"stringValue":"'), value, pl.lit('"}}'))


def _integer(key: str, value: pl.Expr) -> pl.Expr:
    """Write a 64-bit integer attribute: a JSON string by the protocol."""
    return pl.concat_str(pl.lit(f',{{"key":"{key}","value":{{"intValue":"'), value.cast(pl.String), pl.lit('"}}'))


def _optional(column: str, attribute: pl.Expr) -> pl.Expr:
    """Leave an attribute out where a column is null."""
    return pl.when(pl.col(column).is_not_null()).then(attribute).otherwise(pl.lit(""))
