"""1,814 recorded usage blocks become disjoint kinds that conserve their vendors' totals, or are refused with a reason.

The totals are computed here from the blocks by means of their own, event by event, and not by the rules of
`usage_dialects`. Blocks that state their own cost are priced and compared with it.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from genai_prices import Usage, calc_price

from dagster_project.gates.gate import GateRun
from dagster_project.gates.ledger import LEDGER_GATES
from dagster_project.gates.sql_gate import judge
from dagster_project.settings import load_settings
from dagster_project.sources import discover
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.dbt import DbtProject
from dagster_project.warehouse.landing import Landing, LandingZone, pull_source
from dagster_project.warehouse.raw import refresh_views
from tests.sources.pulling import SHARED_DATA

BLOCKS = SHARED_DATA / "genai_usage_payloads" / "provider_usage_blocks.jsonl"
LITELLM_SNAPSHOT = SHARED_DATA / "price_catalogs" / "litellm_snapshots" / "2025-12-01.json.gz"
CALLED_DATE = date(2026, 7, 10)
CALLED_AT = datetime(2026, 7, 10, 12, tzinfo=UTC)
NOW = datetime(2026, 8, 1, tzinfo=UTC)

pytestmark = pytest.mark.skipif(not SHARED_DATA.exists(), reason="../shared/data is absent")

CONFIG = """\
organization: Recorder
start_date: 2026-07-01
as_of: 2026-08-01T00:00:00Z
sources:
  - name: recorded
    kind: usage_payloads
    path: recorded.jsonl
    usage: usage_events
    usage_member: usage
    columns:
      event_at: time
      call_id: id
      host_name: host
      request_path: path
      model_name: response_model
      requested_model_name: requested
      service_tier: response_service_tier
  - {name: list_prices, kind: genai_prices}
  - {name: former_list_prices, kind: litellm_prices, path: litellm.json.gz, known_from: 2025-12-01}
"""

# By dialect: calls, of these with a token count missing, and refused. Four calls asked an advisor, which is a call
# of its own: 229 + 32 of Anthropic's and Bedrock's, and 4. Missing: a prompt that Ollama had kept (7), and bodies of
# Titan, Nova and Llama of which the recorder kept the input count only (12).
COUNTS = {
    "anthropic_messages": (265, 0, 0),
    "bedrock_converse": (180, 0, 0),
    "bedrock_invoke": (32, 12, 0),
    "cohere": (27, 0, 0),
    "cohere_embed": (3, 0, 0),
    "cohere_rerank": (3, 0, 0),
    "deepseek": (6, 0, 0),
    "gemini": (330, 0, 0),
    "groq": (68, 0, 0),
    "mistral": (49, 0, 0),
    "ollama": (23, 7, 0),
    "openai_chat": (502, 0, 2),
    "openai_embeddings": (36, 0, 0),
    "openai_responses": (252, 0, 0),
    "openrouter": (35, 0, 1),
    "openrouter_responses": (3, 0, 0),
    "voyage": (4, 0, 0),
}
# Gemini behind OpenAI's names counts thoughts in the total only: 35 + 12 against 109, 66 + 6 against 100. A call of 10
# output tokens claims 11 of reasoning.
REFUSED = {
    "904": ("wholes_do_not_sum_to_total", 35, 12),
    "905": ("wholes_do_not_sum_to_total", 66, 6),
    "1073": ("output_parts_exceed_output", 43, 10),
}


@dataclass(frozen=True)
class Cause:
    """Why the ledger's list cost of a block is another than the stated one, and whose prices give the stated one.

    Attributes:
        name: The cause.
        list_usd: What the ledger says; None where a kind has no price.
        provider: Provider of the genai-prices package whose prices the stated cost is made of.
        model: Its name there.
        on: Day of these prices.
        fee_usd: What the stated cost holds besides tokens.
    """

    name: str
    list_usd: Decimal | None
    provider: str
    model: str
    on: date = CALLED_DATE
    fee_usd: Decimal = Decimal(0)


# The blocks whose stated cost is not the ledger's, by line; tokens times USD per million.
CAUSES = {
    # 280 x 0.04815 + 40 x 0.19305; stated 280 x 0.10 + 40 x 0.30 = 40.
    "82": Cause("upstream_price", Decimal("0.000021204"), "huggingface_nebius", "Qwen/Qwen3-30B-A3B-Instruct-2507"),
    # 8 x 2 + 4,012 written to the cache x 2.50 + 5 x 10; stated 8 x 5 + 4,012 x 6.25 + 5 x 30 = 25,265.
    "950": Cause("later_list_price", Decimal("0.010096"), "openai", "gpt-5.6-sol"),
    # 8 x 2 + 4,012 read from the cache x 0.20 + 5 x 10; stated 8 x 5 + 4,012 x 0.50 + 5 x 30 = 2,196.
    "951": Cause("later_list_price", Decimal("0.0008684"), "openai", "gpt-5.6-sol"),
    # 78 x 0.029 + 37 x 0.14; stated 78 x 0.05 + 37 x 0.20 = 11.3.
    "1037": Cause("upstream_price", Decimal("0.000007442"), "huggingface_together", "openai/gpt-oss-20b"),
    # 888 x 0.15 + 74 x 0.60 = 177.6; stated 14,547.6 with another model's advice.
    "1070": Cause("advice", Decimal("0.0001776"), "openrouter", "openai/gpt-4o-mini", fee_usd=Decimal("0.01437")),
    # 687 x 3 + 187 x 15; stated 8 x 3 + 679 read from the cache x 0.75 + 187 x 15 = 3,338.25.
    "1074": Cause("cache_read_price_not_listed", Decimal("0.004866"), "x-ai", "grok-4-0709"),
    # 16 x 0.43 + 2 x 1.74; stated 16 x 0.60 + 2 x 2.20 = 14.
    "1076": Cause("upstream_price", Decimal("0.00001036"), "zai", "GLM-4.6"),
    # Stated 2,315 x 0.2574 + 40 x 1.0287 = 637.029, and 7,000 for the search.
    "1082": Cause(
        "search_fee_not_listed", None, "openrouter", "deepseek/deepseek-chat", date(2026, 10, 20), Decimal("0.007")
    ),
    # Stated 8,174 x 0.40 + 30 x 1.60 = 3,317.6, and 10,000 for the search.
    "1083": Cause("search_fee_not_listed", None, "openrouter", "openai/gpt-4.1-mini", fee_usd=Decimal("0.01")),
}
REFUSED_WITH_COST = {"1073"}


_ANTHROPIC = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")


def _last(record: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - JSON
    """Give a member as the last event that has it says; None when none has it."""
    values = [event["usage"][name] for event in record["usage_events"] if event["usage"].get(name) is not None]
    return values[-1] if values else None


def _vendor_total(record: Mapping[str, Any]) -> int:
    """Give the tokens of a record: the vendor's stated total, else the sum that its reference says to make."""
    for name in ("total_tokens", "totalTokenCount", "totalTokens"):
        if (stated := _last(record, name)) is not None:
            return int(stated)
    if iterations := _last(record, "iterations"):
        return sum(item.get(name) or 0 for item in iterations if "model" not in item for name in _ANTHROPIC)
    counts = {name: _last(record, name) or 0 for name in _ANTHROPIC}
    counts |= _last(record, "billed_units") or {}
    counts.pop("search_units", None)
    metrics = _last(record, "amazon-bedrock-invocationMetrics")
    if metrics and not counts["input_tokens"]:
        return sum(count for name, count in metrics.items() if name.endswith("TokenCount"))
    # Of one text alone: an embedding of Gemini or Titan, and what Ollama evaluated.
    own = ("promptTokenCount", "inputTextTokenCount", "prompt_eval_count", "eval_count")
    return int(sum(counts.values()) + sum(_last(record, name) or 0 for name in own))


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in BLOCKS.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def con(tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]]) -> Iterator[Any]:
    """A warehouse built from the blocks; the recorder kept no times for most, so all are given one day."""
    folder = tmp_path_factory.mktemp("payloads")
    lines = [
        orjson.dumps(
            {**record, "id": str(number), "time": CALLED_AT.isoformat(), "requested": record["request"].get("model")}
        )
        for number, record in enumerate(records)
    ]
    (folder / "recorded.jsonl").write_bytes(b"\n".join(lines))
    shutil.copy(LITELLM_SNAPSHOT, folder / "litellm.json.gz")
    (folder / "company.yaml").write_text(CONFIG, encoding="utf-8")
    settings = load_settings(config_path=folder / "company.yaml", state_dir=folder / "state", environ={})
    zone = LandingZone(settings.landing_dir)
    recorded, *prices = settings.sources
    [landing] = pull_source(zone, discover()["usage_payloads"], recorded, now=NOW)
    assert isinstance(landing, Landing)
    assert (landing.rows_read, landing.rows_rejected) == (1814 + 4, 0)
    for options in prices:
        assert all(isinstance(item, Landing) for item in pull_source(zone, discover()[options.kind], options, now=NOW))
    with open_warehouse(settings) as connection:
        refresh_views(connection, zone, discover().values())
    nodes = DbtProject(settings).build(
        ["resource_type:seed", "+rpt_reported_costs", "int_usage__calls_rejected"],
        exclude=["resource_type:test", "resource_type:unit_test"],
    )
    assert [(node.name, node.message) for node in nodes if not node.is_ok] == []
    with open_warehouse(settings) as connection:
        yield connection


def test_every_block_is_a_call_or_refused(con: Any):  # noqa: ANN401 - DuckDB's connection
    found = con.sql("""
        select
            dialect_type,
            (count(*), count(*) filter (
                reject_reason is null and (reported_input_tokens is null or reported_output_tokens is null)
            ), count(reject_reason))
        from staging.stg_usage_payloads__calls
        group by all
    """).fetchall()
    assert dict(found) == COUNTS
    assert sum(calls for calls, *_ in COUNTS.values()) == 1814 + 4


def test_refused_blocks_contradict_themselves(con: Any):  # noqa: ANN401 - DuckDB's connection
    found = con.sql("""
        select call_id, (reject_reason, reported_input_tokens, reported_output_tokens)
        from intermediate.int_usage__calls_rejected
    """).fetchall()
    assert dict(found) == REFUSED


def test_kinds_of_every_call_sum_to_what_its_vendor_says(con: Any, records: list[dict[str, Any]]):  # noqa: ANN401
    kinds = dict(
        con.sql("""
            select
                call_id,
                cast(
                    input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens + output_tokens
                    + reasoning_tokens + input_audio_tokens + output_audio_tokens + input_image_tokens
                    + embedding_tokens
                    + coalesce(list_sum(list_filter(
                        map_entries(other_units), lambda kind: kind.key not in ('rerank_search')
                    ).list_transform(lambda kind: kind.value)), 0) as bigint
                )
            from staging.stg_usage_payloads__calls
            where reject_reason is null and reported_input_tokens is not null and reported_output_tokens is not null
        """).fetchall()
    )
    totals = {str(number): _vendor_total(record) for number, record in enumerate(records)}
    unequal = {call: (tokens, totals[call]) for call, tokens in kinds.items() if tokens != totals.get(call, tokens)}
    assert unequal == {}
    # 1,814 less 3 refused and 19 of unknown count, and the four calls of advisors.
    assert len(kinds) == 1814 - 3 - 19 + 4


def test_work_of_an_advisor_is_a_call_of_its_model(con: Any):  # noqa: ANN401 - DuckDB's connection
    found = con.sql("""
        select model_name, input_tokens, output_tokens from staging.stg_usage_payloads__calls
        where call_id like '%:1' order by input_tokens
    """).fetchall()
    assert found == [
        ("claude-opus-4-8", 2518, 22),
        ("claude-opus-4-8", 2529, 38),
        ("claude-opus-4-8", 2543, 18),
        ("claude-fable-5", 2564, 99),
    ]


@pytest.fixture(scope="module")
def stated(records: list[dict[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The blocks that state a cost, by line; numbers as they were written."""
    return {
        str(number): event["usage"]
        for number, record in enumerate(records)
        for event in record["usage_events"]
        if "cost" in event["usage"]
    }


def _stated_usd(block: Mapping[str, Any]) -> Decimal:
    return Decimal(str(block["cost"]))


def _usage(block: Mapping[str, Any]) -> Usage:
    details = block.get("prompt_tokens_details") or block["input_tokens_details"]
    return Usage(
        input_tokens=block.get("prompt_tokens") or block["input_tokens"],
        cache_read_tokens=details["cached_tokens"],
        cache_write_tokens=details.get("cache_write_tokens", 0),
        output_tokens=block.get("completion_tokens") or block["output_tokens"],
    )


def test_stated_costs_are_those_of_the_blocks(con: Any, stated: dict[str, Mapping[str, Any]]):  # noqa: ANN401
    found = con.sql("""
        select call_id, reported_cost_usd from staging.stg_usage_payloads__calls where reported_cost_usd is not null
    """).fetchall()
    assert len(stated) == 30
    assert dict(found) == {call: _stated_usd(block) for call, block in stated.items()}
    carried = dict(
        con.sql("select call_id, reported_cost_usd from marts.fct_calls where reported_cost_usd is not null").fetchall()
    )
    assert carried == {call: cost for call, cost in found if call not in REFUSED_WITH_COST}


def test_every_stated_cost_is_the_ledgers_or_its_difference_has_a_cause(
    con: Any,  # noqa: ANN401 - DuckDB's connection
    stated: dict[str, Mapping[str, Any]],
):
    found = dict(
        con.sql("select call_id, list_cost_usd from marts.fct_calls where reported_cost_usd is not null").fetchall()
    )
    expected = {call: _stated_usd(block) for call, block in stated.items() if call not in REFUSED_WITH_COST}
    expected |= {call: cause.list_usd for call, cause in CAUSES.items()}
    assert found == expected
    counts = Counter(CAUSES[call].name if call in CAUSES else "equal" for call in found)
    assert counts == {
        "equal": 20,
        "upstream_price": 3,
        "later_list_price": 2,
        "search_fee_not_listed": 2,
        "advice": 1,
        "cache_read_price_not_listed": 1,
    }


@pytest.mark.parametrize("call", CAUSES)
def test_stated_cost_is_made_of_the_prices_that_its_cause_names(stated: dict[str, Mapping[str, Any]], call: str):
    cause = CAUSES[call]
    at = datetime(cause.on.year, cause.on.month, cause.on.day, 12, tzinfo=UTC)
    tokens = calc_price(
        _usage(stated[call]), cause.model, provider_id=cause.provider, genai_request_timestamp=at
    ).total_price
    assert tokens + cause.fee_usd == _stated_usd(stated[call])


def test_report_compares_what_is_stated_with_the_ledger(con: Any, stated: dict[str, Mapping[str, Any]]):  # noqa: ANN401
    [found] = con.sql("""
        select
            sum(call_count), sum(unpriced_call_count), sum(equal_call_count), sum(reported_cost_usd),
            sum(effective_cost_usd), sum(difference_usd)
        from marts.rpt_reported_costs
    """).fetchall()
    whole = sum(_stated_usd(block) for call, block in stated.items() if call not in REFUSED_WITH_COST)
    unpriced = [call for call, cause in CAUSES.items() if cause.list_usd is None]
    difference = sum(
        cause.list_usd - _stated_usd(stated[call]) for call, cause in CAUSES.items() if cause.list_usd is not None
    )
    priced = whole - sum(_stated_usd(stated[call]) for call in unpriced)
    assert found == (29, 2, 20, whole, priced + difference, difference)


def test_ledger_conserves_the_tokens_of_the_blocks(con: Any):  # noqa: ANN401 - DuckDB's connection
    run = GateRun(run_id="run", checked_at=NOW)
    [tokens] = [item for item in LEDGER_GATES if item.gate.gate_name == "marts__fct_calls_tokens_conserved"]
    result = judge(con, tokens.gate, tokens.sql, {"min_date": date(2026, 7, 1), "max_date": date(2026, 7, 31)}, run=run)
    assert result.is_passed, result.sample_json
