"""The agents' trace files, parsed line by line as a stranger would."""

from collections import Counter, defaultdict

from tests.demo.conftest import Feeds
from tests.demo.feed_reading import Span, otlp_lines, spans

CURRENT = "gen_ai.usage.input_tokens"
DEPRECATED = "gen_ai.usage.prompt_tokens"


def _distinct(found: list[Span]) -> list[Span]:
    return list({(span.trace_id, span.span_id): span for span in found}.values())


def test_trace_files_hold_the_spans_that_the_truths_state(feeds: Feeds):
    found, broken = spans(feeds.folder)
    distinct = _distinct(found)
    assert dict(Counter(span.operation for span in distinct)) == feeds.truths.otlp_spans_by_operation
    assert feeds.truths.otlp_spans_by_operation["chat"] == feeds.truths.good_calls_by_source["agents_otel"]
    assert broken == next(reject.row_count for reject in feeds.truths.rejects if reject.source_name == "agents_otel")
    again = next(item for item in feeds.truths.duplicates if item.source_name == "agents_otel")
    assert len(found) - len(distinct) == again.row_count
    resent = [span for span in found if again.file.endswith(span.file)]
    assert len(resent) == again.row_count
    assert sum(span.operation == "chat" for span in resent) == again.call_count


def test_resent_lines_are_copies_of_lines_of_that_day(feeds: Feeds):
    again = next(item for item in feeds.truths.duplicates if item.source_name == "agents_otel")
    lines = defaultdict(set)
    for file, line in otlp_lines(feeds.folder):
        lines[file].add(line)
    resent = again.file.removeprefix("otel/")
    assert lines[resent] <= lines[f"agents_{again.day}.jsonl"] | lines[f"agents_{again.day}.jsonl.gz"]


def test_agent_spans_repeat_the_usage_of_their_calls(feeds: Feeds):
    by_parent: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    roots = {}
    for span in _distinct(spans(feeds.folder)[0]):
        if span.operation == "chat":
            usage = {"in": span.prompt_tokens, "cached": span.cached_tokens, "out": span.completion_tokens}
            by_parent[span.trace_id, span.parent_id].update(usage)
        elif span.operation == "invoke_agent":
            assert span.parent_id == ""
            roots[span.trace_id, span.span_id] = span
    assert roots.keys() == by_parent.keys()
    for key, root in roots.items():
        expected = by_parent[key]
        assert root.prompt_tokens == expected["in"]
        assert root.cached_tokens == expected["cached"]
        assert root.completion_tokens == expected["out"]


def test_some_files_use_the_deprecated_names_and_only_those(feeds: Feeds):
    names: dict[str, set[str]] = defaultdict(set)
    for span in spans(feeds.folder)[0]:
        if span.operation == "chat":
            names[span.file].add(DEPRECATED if DEPRECATED in span.attributes else CURRENT)
            assert (DEPRECATED in span.attributes) != (CURRENT in span.attributes)
            assert ("gen_ai.system" in span.attributes) == (DEPRECATED in span.attributes)
    deprecated = {file for file, used in names.items() if used == {DEPRECATED}}
    assert {f"otel/{file}" for file in deprecated} == set(feeds.truths.otlp_deprecated_files)
    assert all(used == {CURRENT} for file, used in names.items() if file not in deprecated)


def test_one_file_is_compressed(feeds: Feeds):
    packed = [path.name for path in (feeds.folder / "otel").glob("*.gz")]
    assert [f"otel/{name}" for name in packed] == [feeds.truths.otlp_gzip_file]


def test_call_tokens_add_up_to_the_stated_totals(feeds: Feeds):
    calls = [span for span in _distinct(spans(feeds.folder)[0]) if span.operation == "chat"]
    reasoning = sum(span.tokens("gen_ai.usage.reasoning.output_tokens") for span in calls)
    totals = feeds.truths.totals_by_team["automation_agents"]
    assert reasoning == totals.reasoning_tokens > 0
    assert sum(span.cached_tokens for span in calls) < totals.cache_read_tokens
    failed = [span for span in calls if "error.type" in span.attributes]
    retried = [span for span in calls if span.attributes["tokenledger.attempt.index"] == "2"]
    assert len(failed) == len(retried) > 0
    assert all(span.completion_tokens == 0 for span in failed)
