"""The grammar of the dbt project, checked on its manifest: names, grains, units, contracts, gates."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import pytest

Node = Mapping[str, Any]

STAGES = ("raw", "staging", "intermediate", "marts", "analytics", "serving", "reference")
PREDICATES = (
    "present",
    "unique",
    "within_range",
    "known",
    "conserved",
    "reconciled",
    "fresh",
    "not_empty",
    "monotonic",
)
GATE_NAME = re.compile(rf"(?P<stage>{'|'.join(STAGES)})__[a-z0-9_]+_(?:{'|'.join(PREDICATES)})")
UNIQUENESS_TESTS = {"unique", "grain_unique"}

UNITS = ("usd", "tokens", "ms", "s", "bytes", "count", "share", "units")
# Numbers without a unit of their own: positions, multipliers, scores in the unit that their KPI states, and amounts and
# prices of a unit in the currency that another column names, as FOCUS calls them.
UNITLESS = ("index", "rank", "weight", "score", "multiplier", "week_minute", "unit_price", "in_billing_currency")
MEASURE = re.compile(rf"(?:^|_)(?:{'|'.join([*UNITS, *UNITLESS])})(?:_per_[a-z0-9_]+|_from|_to)?$")
BARE_MEASURE = re.compile(r"(?:^|_)(?:cost|(?<!unit_)price|amount|rate|ratio|pct|percent|latency|duration)$")
# The interval columns of dated reference data keep the names that valid time and known time have everywhere.
INTERVAL_ENDS = {"valid_from", "valid_to", "known_from", "known_to"}

NUMERIC_TYPE = re.compile(r"(?:decimal|numeric|double|float|real|(?:u?(?:tiny|small|big|huge)?int(?:eger|\d+)?))\b")
TEMPORAL = {"date": "_date", "timestamp": "_at"}


def _models(manifest: Node) -> list[Node]:
    return [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]


def _tests(manifest: Node) -> list[Node]:
    return [node for node in manifest["nodes"].values() if node["resource_type"] == "test"]


def _stage(node: Node) -> str:
    return "reference" if node["resource_type"] == "seed" else str(node["fqn"][1])


def _columns(nodes: list[Node]) -> Iterator[tuple[str, Node]]:
    for node in nodes:
        for column in node["columns"].values():
            yield f"{node['name']}.{column['name']}", column


def _without_focus(nodes: list[Node]) -> list[Node]:
    """Leave out the models that show FOCUS's own columns."""
    return [node for node in nodes if "focus" not in node["fqn"][2:-1] and "focus" not in node["name"]]


def _type(column: Node) -> str:
    return (column.get("data_type") or "").lower()


def _is_well_named_model(node: Node) -> bool:
    folder = PurePosixPath(node["path"]).parent
    if len(folder.parts) != 2:
        return False
    prefix = {
        "staging": f"stg_{folder.parts[1]}__",
        "intermediate": f"int_{folder.parts[1]}__",
        "marts": "(?:fct|dim|rpt)_",
    }.get(folder.parts[0])
    return prefix is not None and re.fullmatch(f"{prefix}[a-z0-9_]+", node["name"]) is not None


def test_there_are_models_of_every_layer(manifest: Node):
    assert {_stage(node) for node in _models(manifest)} == {"staging", "intermediate", "marts"}


def test_model_names_begin_as_their_folder_says(manifest: Node):
    assert [node["path"] for node in _models(manifest) if not _is_well_named_model(node)] == []


def test_first_sentence_of_every_model_states_its_grain(manifest: Node):
    assert [
        node["name"]
        for node in _models(manifest)
        if not re.match(r"One row per \w[^.]*\.", node["description"].strip())
    ] == []


def test_every_model_describes_columns(manifest: Node):
    models = _models(manifest)
    assert [node["name"] for node in models if not node["columns"]] == []
    assert [name for name, column in _columns(models) if not column["description"].strip()] == []


def test_every_source_table_is_described(manifest: Node):
    sources = manifest["sources"].values()
    assert [source["unique_id"] for source in sources if not source["description"].strip()] == []


def test_numeric_columns_end_in_their_unit(manifest: Node):
    assert [
        name
        for name, column in _columns(_without_focus(_models(manifest)))
        if NUMERIC_TYPE.match(_type(column)) and not MEASURE.search(column["name"])
    ] == []


def test_no_column_is_a_bare_measure(manifest: Node):
    columns = _columns(_without_focus(_models(manifest)))
    assert [name for name, column in columns if BARE_MEASURE.search(column["name"])] == []


def test_flags_and_times_are_named_as_such(manifest: Node):
    wrong = []
    for name, column in _columns(_without_focus(_models(manifest))):
        is_flag = re.match(r"(?:is|has)_", column["name"]) is not None
        if _type(column) and is_flag != (_type(column) in {"boolean", "bool"}):
            wrong.append(name)
        suffix = next((ending for kind, ending in TEMPORAL.items() if _type(column).startswith(kind)), "")
        if column["name"] not in INTERVAL_ENDS and not column["name"].endswith(suffix):
            wrong.append(name)
    assert wrong == []


def test_every_mart_enforces_a_contract_with_typed_columns(manifest: Node):
    marts = [node for node in _models(manifest) if _stage(node) == "marts"]
    assert [node["name"] for node in marts if not node["config"]["contract"]["enforced"]] == []
    assert [name for name, column in _columns(marts) if not _type(column)] == []


def test_every_mart_has_a_uniqueness_test_on_its_grain(manifest: Node):
    tested = {
        test["attached_node"]
        for test in _tests(manifest)
        if (test.get("test_metadata") or {}).get("name") in UNIQUENESS_TESTS
    }
    marts = [node for node in _models(manifest) if _stage(node) == "marts"]
    assert [node["name"] for node in marts if node["unique_id"] not in tested] == []


def test_every_uniqueness_test_judges_the_stated_grain(manifest: Node):
    wrong = []
    for test in _tests(manifest):
        metadata = test.get("test_metadata") or {}
        if metadata.get("name") in UNIQUENESS_TESTS:
            judged = manifest["nodes"][test["attached_node"]]
            if metadata["kwargs"]["columns"] != judged["config"]["meta"].get("grain"):
                wrong.append(test["name"])
    assert wrong == []


def test_gates_of_what_is_built_by_day_judge_the_days_of_the_run(manifest: Node):
    # A gate without a day column reads all of history: the cost of a run would grow with it.
    by_day = {node["unique_id"]: node["config"].get("day_column") for node in _models(manifest)}
    assert [
        test["name"]
        for test in _tests(manifest)
        if (day := by_day.get(test.get("attached_node") or ""))
        and (test["test_metadata"]["kwargs"].get("day_column") != day)
    ] == []


def test_money_is_decimal_unless_it_is_a_statistic(manifest: Node):
    assert [
        name
        for name, column in _columns(_models(manifest))
        if re.search(r"_usd(?:_per_unit)?$", column["name"])
        and not re.match(r"p\d+_", column["name"])
        and _type(column)
        and not _type(column).startswith("decimal")
    ] == []


def test_every_dbt_test_is_a_gate_by_name(manifest: Node):
    assert [test["name"] for test in _tests(manifest) if not GATE_NAME.fullmatch(test["name"])] == []


def test_gate_names_begin_with_the_stage_of_what_they_judge(manifest: Node):
    wrong = []
    for test in _tests(manifest):
        judged = manifest["nodes"].get(test.get("attached_node") or "")
        if judged is not None and not test["name"].startswith(f"{_stage(judged)}__"):
            wrong.append(test["name"])
    assert wrong == []


def test_gates_block_or_warn_and_nothing_between(manifest: Node):
    wrong = [
        test["name"]
        for test in _tests(manifest)
        if test["config"]["severity"].lower() not in {"error", "warn"}
        or test["config"]["error_if"] != "!= 0"
        or test["config"]["warn_if"] != "!= 0"
        or not test["config"]["enabled"]
    ]
    assert wrong == []


def test_only_staging_reads_sources(manifest: Node):
    assert [
        node["name"]
        for node in _models(manifest)
        if _stage(node) != "staging" and any(name.startswith("source.") for name in node["depends_on"]["nodes"])
    ] == []


def test_data_flows_one_way(manifest: Node):
    order = ["reference", "staging", "intermediate", "marts"]
    wrong = []
    for node in _models(manifest):
        for name in node["depends_on"]["nodes"]:
            parent = manifest["nodes"].get(name)
            if parent is not None and order.index(_stage(parent)) > order.index(_stage(node)):
                wrong.append(f"{node['name']} reads {parent['name']}")
    assert wrong == []


@pytest.mark.parametrize(
    ("path", "name", "is_good"),
    [
        ("staging/otlp_files/stg_otlp_files__spans.sql", "stg_otlp_files__spans", True),
        ("staging/otlp_files/stg_kpi_files__scores.sql", "stg_kpi_files__scores", False),
        ("intermediate/pricing/int_pricing__rates.sql", "int_pricing__rates", True),
        ("marts/cost/fct_calls.sql", "fct_calls", True),
        ("marts/cost/calls.sql", "calls", False),
        ("marts/fct_calls.sql", "fct_calls", False),
        ("scratch/cost/fct_calls.sql", "fct_calls", False),
    ],
)
def test_model_name_rule(path: str, name: str, is_good: bool):
    assert _is_well_named_model({"path": path, "name": name}) is is_good


@pytest.mark.parametrize(
    ("name", "is_good"),
    [
        ("list_cost_usd", True),
        ("p95_latency_ms", True),
        ("cost_usd_per_instance", True),
        ("usd_per_unit_hour", True),
        ("input_tokens", True),
        ("utilization_share", True),
        ("attempt_index", True),
        ("week_minute_from", True),
        ("contract_unit_price", True),
        ("score", True),
        ("cost", False),
        ("latency", False),
        ("tokens_input", False),
        ("progress", False),
        ("units_sold_pct", False),
    ],
)
def test_numeric_column_rule(name: str, is_good: bool):
    assert (MEASURE.search(name) is not None) is is_good


@pytest.mark.parametrize(
    ("data_type", "is_numeric"),
    [
        ("decimal(18,9)", True),
        ("bigint", True),
        ("integer", True),
        ("int", True),
        ("hugeint", True),
        ("double", True),
        ("interval", False),
        ("varchar", False),
        ("timestamp with time zone", False),
    ],
)
def test_numeric_types_are_recognised(data_type: str, is_numeric: bool):
    assert (NUMERIC_TYPE.match(data_type) is not None) is is_numeric


@pytest.mark.parametrize(
    ("name", "is_good"),
    [
        ("marts__fct_calls_cost_usd_conserved", True),
        ("staging__calls_call_key_unique", True),
        ("grain_unique_fct_calls_call_key", False),
        ("marts__fct_calls_ok", False),
        ("fct_calls__call_key_unique", False),
    ],
)
def test_gate_name_rule(name: str, is_good: bool):
    assert (GATE_NAME.fullmatch(name) is not None) is is_good
