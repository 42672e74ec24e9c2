"""The generator as a whole: same arguments, same bytes; and its counts are those of the files."""

import hashlib
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from ruamel.yaml import YAML

from dagster_project.demo import novaspark
from dagster_project.demo.novaspark import generate
from dagster_project.errors import ConfigurationError
from tests.demo.conftest import Feeds
from tests.demo.feed_reading import spans, table

CONFIGURATION = Path(novaspark.__file__).with_name("novaspark.yaml")


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _reasons(feeds: Feeds) -> dict[str, int]:
    return {reject.reason: reject.row_count for reject in feeds.truths.rejects}


def test_generate_gives_the_same_bytes_for_the_same_arguments(small_feeds: Feeds, tmp_path: Path):
    again = generate(tmp_path, calls=5_000, days=10)
    assert again == small_feeds.truths
    assert _hashes(tmp_path) == _hashes(small_feeds.folder)


def test_generate_gives_other_calls_for_another_seed(small_feeds: Feeds, tmp_path: Path):
    other = generate(tmp_path, seed=8, calls=5_000, days=10)
    assert other.totals.call_count == small_feeds.truths.totals.call_count == 5_000
    assert other.totals.input_tokens != small_feeds.truths.totals.input_tokens


def test_generate_leaves_a_finished_set_alone(tmp_path: Path):
    first = generate(tmp_path, calls=2_000, days=10)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert generate(tmp_path, calls=2_000, days=10) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == written


def test_generate_replaces_what_an_interrupted_run_left(tmp_path: Path):
    generate(tmp_path, calls=2_000, days=10)
    complete = _hashes(tmp_path)
    (tmp_path / "truths.json").unlink()
    (tmp_path / "calls" / "search" / "search_2026-07-02.csv").write_text("half a fi")
    (tmp_path / "otel" / "agents_2026-12-24.jsonl").write_text("{}")
    generate(tmp_path, calls=2_000, days=10)
    assert _hashes(tmp_path) == complete


def test_generate_replaces_a_set_of_other_arguments_and_keeps_foreign_files(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    generate(tmp_path, calls=2_000, days=12)
    truths = generate(tmp_path, calls=2_000, days=10)
    assert truths.arguments.days == 10
    assert not list(tmp_path.glob("calls/*/*2026-07-11*"))
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_generate_does_not_trust_a_broken_marker(tmp_path: Path):
    (tmp_path / "truths.json").write_text('{"arguments": {"seed": 7')
    assert generate(tmp_path, calls=2_000, days=10).totals.call_count == 2_000


@pytest.mark.parametrize(("calls", "days"), [(1_999, 10), (2_000, 9)])
def test_generate_refuses_a_demo_too_small_for_its_plants(tmp_path: Path, calls: int, days: int):
    with pytest.raises(ConfigurationError, match="at least 2000 calls and 10 days"):
        generate(tmp_path, calls=calls, days=days)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("start_date", [date(2026, 2, 23), date(2026, 7, 4), date(2026, 11, 29)])
def test_generate_plants_everything_whatever_day_it_starts(tmp_path: Path, start_date: date):
    truths = generate(tmp_path, calls=3_000, days=10, start_date=start_date)
    assert truths.prompt_day.day.strftime("%A") == "Tuesday"
    assert truths.totals.call_count == 3_000
    assert truths.spillover_call_count > 0
    assert truths.unknown_model.call_count >= 10
    assert all(reject.row_count >= 2 for reject in truths.rejects)
    assert all(late.call_count > 0 for late in truths.late)
    assert all(duplicate.call_count > 0 for duplicate in truths.duplicates)
    assert start_date < truths.discount.valid_from < date.fromordinal(start_date.toordinal() + 10)


def test_generate_makes_exactly_as_many_good_calls_as_asked_for(feeds: Feeds):
    assert sum(feeds.truths.good_calls_by_team.values()) == 60_000
    assert sum(feeds.truths.good_calls_by_source.values()) == 60_000


def test_support_files_hold_the_calls_and_tokens_that_the_truths_state(feeds: Feeds):
    rows = table(feeds.folder, "calls/support/*.parquet")
    is_bad = pl.col("prompt_tokens_cached") > pl.col("prompt_tokens")
    bad, good = rows.filter(is_bad), rows.filter(~is_bad)
    assert bad.height == _reasons(feeds)["cached tokens above input tokens"]
    assert bad["id"].str.starts_with("bad-").all()
    assert good.height == good["id"].n_unique() == feeds.truths.good_calls_by_source["support_calls"]
    totals = feeds.truths.totals_by_team["customer_support"]
    assert good["prompt_tokens_cached"].sum() == totals.cache_read_tokens
    assert good["prompt_tokens"].sum() == totals.input_tokens + totals.cache_read_tokens
    assert good["completion_tokens"].sum() == totals.output_tokens + totals.reasoning_tokens
    assert good["completion_tokens_reasoning"].sum() == totals.reasoning_tokens > 0


def test_search_files_hold_the_calls_and_tokens_that_the_truths_state(feeds: Feeds):
    rows = table(feeds.folder, "calls/search/*.csv")
    bad, good = rows.filter(pl.col("fresh_in") < 0), rows.filter(pl.col("fresh_in") >= 0)
    assert bad.height == _reasons(feeds)["negative tokens"]
    repeated = next(item for item in feeds.truths.duplicates if item.source_name == "search_calls")
    again = good.filter(pl.col("file") == Path(repeated.file).name).drop("file")
    first = good.filter(pl.col("file") != Path(repeated.file).name).drop("file")
    assert again.height == repeated.call_count == again.join(first, on=first.columns, nulls_equal=True).height
    assert first.height == first["request"].n_unique() == feeds.truths.good_calls_by_source["search_calls"]
    totals = feeds.truths.totals_by_team["search_platform"]
    sums = first.group_by("kind").agg(pl.col("fresh_in", "cached_in", "generated").sum()).rows_by_key("kind")
    assert sums["chat"] == [(totals.input_tokens, totals.cache_read_tokens, totals.output_tokens)]
    assert sums["embeddings"] == [(totals.embedding_tokens, 0, 0)]


def test_unknown_model_calls_are_good_rows_with_the_stated_tokens(feeds: Feeds):
    truth = feeds.truths.unknown_model
    rows = table(feeds.folder, "calls/search/search_*.csv").filter(pl.col("engine") == truth.model_name)
    assert rows.height == truth.call_count
    assert rows["run"].n_unique() == truth.instance_count
    assert rows["fresh_in"].sum() == truth.input_tokens
    assert rows["cached_in"].sum() == truth.cache_read_tokens
    assert rows["generated"].sum() == truth.output_tokens


def test_research_files_hold_rows_of_years_to_come_beside_the_good_ones(feeds: Feeds):
    rows = table(feeds.folder, "calls/research/*.jsonl").with_columns(year=pl.col("when").str.slice(0, 4))
    counts = dict(rows.group_by("year").len().iter_rows())
    assert counts == {
        "2026": feeds.truths.good_calls_by_source["research_calls"],
        "2999": _reasons(feeds)["time in the year 2999"],
        "2099": _reasons(feeds)["time in the year 2099"],
    }


def test_drafting_files_hold_the_calls_that_the_truths_state(feeds: Feeds):
    rows = table(feeds.folder, "calls/drafting/*.csv")
    assert rows.height == rows["ref"].n_unique() == feeds.truths.good_calls_by_source["drafting_calls"]


def test_late_calls_are_in_the_late_file_only_and_belong_to_the_early_day(feeds: Feeds):
    (late,) = feeds.truths.late
    rows = table(feeds.folder, "calls/support/*.parquet")
    delivered_late = rows.filter(pl.col("file") == Path(late.file).name)
    assert delivered_late.height == late.call_count
    assert set(delivered_late["started"].dt.date()) == {late.day}
    assert late.day < late.delivered_on == date(2026, 8, 11)
    in_time = rows.filter(pl.col("file") != Path(late.file).name)
    assert delivered_late.join(in_time, on="id").is_empty()
    assert set(rows.filter(pl.col("file") == f"chat_{late.day}.parquet")["started"].dt.date()) == {late.day}


def test_every_call_is_in_the_file_of_its_day(feeds: Feeds):
    support = table(feeds.folder, "calls/support/chat_*.parquet")
    assert (support["started"].dt.date().cast(pl.String) == support["file"].str.slice(5, 10)).all()
    search = table(feeds.folder, "calls/search/search_*.csv")
    days = pl.from_epoch(search["ts_ms"], time_unit="ms").dt.date().cast(pl.String)
    assert (days == search["file"].str.slice(7, 10)).all()


def test_instances_are_those_that_the_files_name(feeds: Feeds):
    support = table(feeds.folder, "calls/support/*.parquet")
    search = table(feeds.folder, "calls/search/search_*.csv")
    found = {
        **dict(support.group_by("feature").agg(pl.col("conversation").n_unique()).iter_rows()),
        **dict(search.group_by("app").agg(pl.col("run").n_unique()).iter_rows()),
        "model_evaluation": table(feeds.folder, "calls/research/*.jsonl")["job"].n_unique(),
        "document_drafting": table(feeds.folder, "calls/drafting/*.csv")["document"].n_unique(),
        "contract_review_agent": len({span.trace_id for span in spans(feeds.folder)[0]}),
    }
    assert found == feeds.truths.instances_by_use_case


def test_configuration_maps_only_columns_that_the_files_have(feeds: Feeds):
    document = YAML(typ="safe").load(CONFIGURATION.read_text(encoding="utf-8"))
    mapped = [source for source in document["sources"] if "columns" in source]
    assert len(mapped) == 9
    for source in mapped:
        rows = table(feeds.folder, source["path"].removeprefix("{feeds}/"))
        assert set(source["columns"].values()) <= set(rows.columns), source["name"]


def test_configuration_names_the_sources_that_the_truths_name(feeds: Feeds):
    document = YAML(typ="safe").load(CONFIGURATION.read_text(encoding="utf-8"))
    names = {source["name"] for source in document["sources"]}
    assert set(feeds.truths.good_calls_by_source) <= names
    assert {reject.source_name for reject in feeds.truths.rejects} <= names
    assert document["start_date"] == novaspark.DEFAULT_START_DATE
    assert document["demo"] == {"seed": 7, "calls": 500_000, "days": 90}


def test_configuration_reads_every_feed_file_exactly_once(feeds: Feeds):
    document = YAML(typ="safe").load(CONFIGURATION.read_text(encoding="utf-8"))
    read = [
        path
        for source in document["sources"]
        if "path" in source
        for path in feeds.folder.glob(source["path"].removeprefix("{feeds}/"))
    ]
    written = [path for path in feeds.folder.rglob("*") if path.is_file() and path.name != "truths.json"]
    assert sorted(read) == sorted(written)


def test_demo_does_not_need_dagster():
    code = "import sys, dagster_project.demo.novaspark; sys.exit('dagster' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
