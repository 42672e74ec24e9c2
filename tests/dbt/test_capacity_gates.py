"""Wrong purchase records of capacity: each gate names the file, what is wrong with it, and the row."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from dagster_project.sources import discover
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.dbt import DbtProject, NodeResult
from dagster_project.warehouse.landing import LANDING_COLUMNS, LandingZone
from dagster_project.warehouse.raw import raw_table, refresh_views
from tests.integration.small_company import SmallCompany

YEAR = "2026-01-01T00:00:00Z,2027-01-01T00:00:00Z"
JANUARY = "2026-01-01T00:00:00Z,2026-02-01T00:00:00Z"
FEBRUARY = "2026-02-01T00:00:00Z,2026-03-01T00:00:00Z"
MARCH = "2026-03-01T00:00:00Z,2026-04-01T00:00:00Z"


def commitment(
    commitment_id: str,
    period: str = YEAR,
    *,
    kind: str = "ptu",
    bound: str = ",,,,",
    units: int = 10,
    overage: str = "",
) -> str:
    """A row of seed_commitments.csv; `bound` is deployment type, region, scope, model and publisher."""
    return f"{commitment_id},mill,{kind},{bound},unit,{units},1.00,{overage},{period},Order"


def deployment(
    deployment_id: str,
    commitment_id: str,
    period: str = YEAR,
    *,
    model: str = "mill-own",
    matched: str = ",,,",
    units: str = "1",
) -> str:
    """A row of seed_deployments.csv; `matched` is publisher, deployment type, region and scope."""
    return f"{deployment_id},{commitment_id},mill,{model},{matched},{units},{period},"


def throughput(model: str, validity: str = "2026-01-01,", *, unit: str = "unit", window: str = "60") -> str:
    """A row of seed_capacity_throughputs.csv."""
    return f"mill,{unit},{model},,1000,0,4,1,1,{window},{validity},Page"


GOOD_COMMITMENTS = [
    commitment("pool", JANUARY),
    commitment("pool", FEBRUARY, units=5),
    commitment("order", JANUARY, kind="gsu", bound=",,,,millworks"),
    commitment("order", FEBRUARY, kind="gsu", bound=",,,,millworks", units=20),
    commitment("north", bound="global,north,team,,", overage="2.00"),
    commitment("units", kind="model_unit", bound=",,,mill-own,"),
    commitment("bundles", kind="scale_tier", bound=",,,mill-own,"),
    commitment("machines", kind="gpu_instance"),
]
GOOD_DEPLOYMENTS = [
    deployment("twice", "pool", JANUARY),
    deployment("twice", "pool", MARCH),
    deployment("published", "order", matched="millworks,,,"),
    deployment("matched", "", matched=",global,north,team"),
    deployment("bound", "units"),
    deployment("as_it_goes", "", model="anything", units=""),
]
GOOD_THROUGHPUTS = [throughput("mill-own", "2026-01-01,2026-06-01"), throughput("mill-own", "2026-06-01,")]

# Rows that are put beside the good ones -> the gate that finds them -> what it shows in its second and third column.
WRONG: Mapping[str, tuple[str, Sequence[str], str, str, list[tuple[str | None, ...]]]] = {
    "a gap between two periods": (
        "seed_commitments",
        [commitment("gap", JANUARY), commitment("gap", MARCH)],
        "reference__seed_commitments_periods_monotonic",
        "commitment_id, starts_at",
        [("gap", "2026-03-01 00:00:00+00")],
    ),
    "an overlap of two periods": (
        "seed_commitments",
        [commitment("overlap"), commitment("overlap", FEBRUARY)],
        "reference__seed_commitments_periods_monotonic",
        "commitment_id, starts_at",
        [("overlap", "2026-01-01 00:00:00+00"), ("overlap", "2026-02-01 00:00:00+00")],
    ),
    "an end before the beginning": (
        "seed_commitments",
        [commitment("backwards", "2026-02-01T00:00:00Z,2026-01-01T00:00:00Z")],
        "reference__seed_commitments_periods_monotonic",
        "commitment_id",
        [("backwards",)],
    ),
    "a part of a minute": (
        "seed_commitments",
        [commitment("seconds", "2026-01-01T00:00:30Z,2026-02-01T00:00:00Z")],
        "reference__seed_commitments_periods_monotonic",
        "commitment_id",
        [("seconds",)],
    ),
    "an unknown type": (
        "seed_commitments",
        [commitment("odd", kind="lease")],
        "reference__seed_commitments_terms_known",
        "commitment_id, commitment_type",
        [("odd", "lease")],
    ),
    "model units of no model": (
        "seed_commitments",
        [commitment("unbound", kind="model_unit")],
        "reference__seed_commitments_terms_known",
        "commitment_id, model_id",
        [("unbound", None)],
    ),
    "GSUs of no publisher": (
        "seed_commitments",
        [commitment("unpublished", kind="gsu")],
        "reference__seed_commitments_terms_known",
        "commitment_id",
        [("unpublished",)],
    ),
    "Scale Tier for part of a day": (
        "seed_commitments",
        [commitment("noon", "2026-01-01T12:00:00Z,2026-02-01T00:00:00Z", kind="scale_tier", bound=",,,mill-own,")],
        "reference__seed_commitments_terms_known",
        "commitment_id",
        [("noon",)],
    ),
    "an unknown model": (
        "seed_commitments",
        [commitment("unheard", kind="model_unit", bound=",,,mill-unheard,")],
        "reference__seed_commitments_model_known",
        "commitment_id, model_id",
        [("unheard", "mill-unheard")],
    ),
    "GSUs reduced within the order": (
        "seed_commitments",
        [
            commitment("reduced", JANUARY, kind="gsu", bound=",,,,millworks", units=20),
            commitment("reduced", FEBRUARY, kind="gsu", bound=",,,,millworks", units=19),
        ],
        "reference__seed_commitments_gsu_units_monotonic",
        "commitment_id, bought_units",
        [("reduced", "19")],
    ),
    "two periods of a deployment at once": (
        "seed_deployments",
        [deployment("doubled", "pool"), deployment("doubled", "pool", FEBRUARY)],
        "reference__seed_deployments_periods_monotonic",
        "deployment_id, starts_at",
        [("doubled", "2026-01-01 00:00:00+00")],
    ),
    "a deployment of an unknown commitment": (
        "seed_deployments",
        [deployment("lost", "pond")],
        "reference__seed_deployments_commitment_known",
        "deployment_id, commitment_id",
        [("lost", "pond")],
    ),
    "a deployment that no reservation covers": (
        "seed_deployments",
        [deployment("south", "", matched=",global,south,team")],
        "reference__seed_deployments_commitment_known",
        "deployment_id, region_id",
        [("south", "south")],
    ),
    "a deployment of another model": (
        "seed_deployments",
        [deployment("stranger", "units", model="mill-other")],
        "reference__seed_deployments_binding_reconciled",
        "deployment_id, model_id",
        [("stranger", "mill-other")],
    ),
    "a deployment of another publisher": (
        "seed_deployments",
        [deployment("pirate", "order", matched="others,,,"), deployment("anonymous", "order")],
        "reference__seed_deployments_binding_reconciled",
        "deployment_id, publisher_name",
        [("anonymous", None), ("pirate", "others")],
    ),
    "a deployment in another region": (
        "seed_deployments",
        [deployment("abroad", "north", matched=",global,south,team")],
        "reference__seed_deployments_binding_reconciled",
        "deployment_id, region_id",
        [("abroad", "south")],
    ),
    "a deployment of a model without throughput": (
        "seed_deployments",
        [deployment("unmeasured", "pool", model="mill-unheard")],
        "reference__seed_deployments_throughput_known",
        "deployment_id, model_id",
        [("unmeasured", "mill-unheard")],
    ),
    "a throughput that begins too late": (
        "seed_capacity_throughputs",
        [throughput("mill-late", "2026-01-15,")],
        "reference__seed_deployments_throughput_known",
        "deployment_id, model_id",
        [("late", "mill-late")],
    ),
    "a window that is no part of a minute": (
        "seed_capacity_throughputs",
        [throughput("mill-slow", window="45")],
        "reference__seed_capacity_throughputs_terms_within_range",
        "model_id, enforcement_window_s",
        [("mill-slow", "45")],
    ),
    "a gap between two throughputs": (
        "seed_capacity_throughputs",
        [throughput("mill-gap", "2026-01-01,2026-02-01"), throughput("mill-gap", "2026-03-01,")],
        "reference__seed_capacity_throughputs_terms_within_range",
        "model_id, valid_from",
        [("mill-gap", "2026-03-01")],
    ),
}


def _judged(company: SmallCompany) -> dict[str, NodeResult]:
    """What the gates of the reference data say, by name."""
    with open_warehouse(company.settings):
        nodes = DbtProject(company.settings).build(["resource_type:seed"], exclude=["resource_type:unit_test"])
    return {node.name: node for node in nodes if node.resource_type == "test"}


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NodeResult]:
    """The gates over good rows alone."""
    company = SmallCompany.found(tmp_path_factory.mktemp("right") / "company")
    company.write_seed("seed_commitments", GOOD_COMMITMENTS)
    company.write_seed("seed_deployments", GOOD_DEPLOYMENTS)
    company.write_seed("seed_capacity_throughputs", GOOD_THROUGHPUTS)
    return _judged(company)


@pytest.fixture(scope="module")
def wrong_company(tmp_path_factory: pytest.TempPathFactory) -> SmallCompany:
    """A company with every mistake."""
    company = SmallCompany.found(tmp_path_factory.mktemp("wrong") / "company")
    rows = {
        "seed_commitments": list(GOOD_COMMITMENTS),
        "seed_deployments": [*GOOD_DEPLOYMENTS, deployment("late", "pool", model="mill-late")],
        "seed_capacity_throughputs": [*GOOD_THROUGHPUTS, throughput("mill-other")],
    }
    for seed, wrong, *_ in WRONG.values():
        rows[seed] += wrong
    for seed, lines in rows.items():
        company.write_seed(seed, lines)
    return company


@pytest.fixture(scope="module")
def wrong(wrong_company: SmallCompany) -> dict[str, NodeResult]:
    """The gates over every mistake at once."""
    return _judged(wrong_company)


GATES = sorted({gate for _, _, gate, _, _ in WRONG.values()})


@pytest.mark.parametrize("gate", GATES)
def test_gate_passes_over_right_records(right: dict[str, NodeResult], gate: str):
    assert right[gate].status == "pass"


@pytest.mark.parametrize("mistake", WRONG)
def test_gate_shows_the_row_of_a_wrong_record(wrong_company: SmallCompany, wrong: dict[str, NodeResult], mistake: str):
    _, _, gate, columns, shown = WRONG[mistake]
    assert wrong[gate].status == "fail"
    found = wrong_company.warehouse_rows(f"select {columns} from ({wrong[gate].compiled_sql}) order by all")
    assert [row for row in found if row[0] in {key for key, *_ in shown}] == shown


@pytest.mark.parametrize("gate", GATES)
def test_gate_shows_nothing_but_wrong_records(wrong_company: SmallCompany, wrong: dict[str, NodeResult], gate: str):
    expected = sum(len(shown) for _, _, name, _, shown in WRONG.values() if name == gate)
    assert wrong[gate].failures == expected


@pytest.mark.parametrize(
    ("commitments", "deployments", "gate", "shown"),
    [
        (
            [commitment("units", kind="model_unit", bound=",,,mill-own,", units=2)],
            [deployment("one", "units"), deployment("two", "units", units="2")],
            "intermediate__int_capacity_deployment_hours_money_within_range",
            ("distinct commitment_id, deployment_id, units_count", ("units", None, "-1")),
        ),
        (
            [commitment("first", bound="global,north,,,"), commitment("second", bound="global,north,,,")],
            [deployment("either", "", matched=",global,north,team")],
            "intermediate__int_capacity_allocations_periods_monotonic",
            ("deployment_id, commitment_id", ("either", "first")),
        ),
    ],
    ids=["more units than were bought", "two reservations that cover one deployment"],
)
def test_gate_shows_a_deployment_that_its_commitment_cannot_hold(
    tmp_path: Path,
    commitments: list[str],
    deployments: list[str],
    gate: str,
    shown: tuple[str, tuple[str | None, ...]],
):
    company = SmallCompany.found(tmp_path / "company")
    company.write_seed("seed_commitments", commitments)
    company.write_seed("seed_deployments", deployments)
    company.write_seed("seed_capacity_throughputs", [throughput("mill-own")])
    with open_warehouse(company.settings) as con:
        refresh_views(con, LandingZone(company.settings.landing_dir), discover().values())
    project = DbtProject(company.settings)
    project.build(["+int_capacity__deployment_hours"], exclude=["resource_type:test", "resource_type:unit_test"])
    [judged] = project.build([gate], command="test")
    assert (judged.name, judged.status) == (gate, "fail")
    columns, row = shown
    assert company.warehouse_rows(f"select {columns} from ({judged.compiled_sql}) order by all") == [row]


AT = datetime(2026, 3, 2, tzinfo=UTC)
LANDED = {"source_name": "fleet", "landed_at": AT, "input_uri": "a", "record_index": 0, "event_date": AT.date()}
MEASURED = {**LANDED, "deployment_id": "own", "instance_id": "gpu-0", "utilization_percent": 40.0, "measured_at": AT}
HELD = {
    **LANDED,
    "deployment_id": "own",
    "allocated_units": 1,
    "is_snapshot": False,
    "starts_at": AT,
    "observed_at": AT,
}


def _observe(company: SmallCompany, kind: str, entity_name: str, rows: list[dict[str, object]]) -> None:
    """Let a raw table show these rows, columns that they lack as null."""
    connector = discover()[kind]
    entity = connector.entity(entity_name)
    schema = pa.schema([*LANDING_COLUMNS, *entity.schema, ("event_date", pa.date32())])
    given = pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema)
    name = f"raw.{raw_table(connector, entity)}"
    with open_warehouse(company.settings) as con:
        con.register("given", given)
        con.execute(f"drop view {name}")
        con.execute(f"create table {name} as select * from given")


@pytest.mark.parametrize(
    ("kind", "entity", "rows", "gate", "status", "shown"),
    [
        (
            "prometheus_gpus",
            "measurements",
            [MEASURED, {**MEASURED, "deployment_id": None, "record_index": 1}],
            "staging__stg_capacity_measurements_identity_present",
            "fail",
            ("deployment_id, instance_id", (None, "gpu-0")),
        ),
        (
            "prometheus_gpus",
            "measurements",
            [MEASURED, {**MEASURED, "instance_id": "gpu-1", "utilization_percent": 140.0}],
            "staging__stg_capacity_measurements_measure_within_range",
            "warn",
            ("instance_id, utilization_share", ("gpu-1", "1.4")),
        ),
        (
            "inventory_files",
            "deployments",
            [HELD, {**HELD, "instance_id": "i-1", "allocated_units": -1}],
            "staging__stg_capacity_deployments_units_within_range",
            "warn",
            ("instance_id, allocated_units", ("i-1", "-1")),
        ),
        (
            "inventory_files",
            "deployments",
            [HELD, {**HELD, "deployment_id": "twice"}, {**HELD, "deployment_id": "twice", "source_name": "other"}],
            "intermediate__int_capacity_deployments_source_unique",
            "fail",
            ("deployment_id", ("twice",)),
        ),
    ],
)
def test_gate_shows_an_observation_that_cannot_hold(  # noqa: PLR0917 - one row of the table above
    tmp_path: Path,
    kind: str,
    entity: str,
    rows: list[dict[str, object]],
    gate: str,
    status: str,
    shown: tuple[str, tuple[str | None, ...]],
):
    company = SmallCompany.found(tmp_path / "company")
    company.write_seed("seed_deployments", [])
    with open_warehouse(company.settings) as con:
        refresh_views(con, LandingZone(company.settings.landing_dir), discover().values())
    _observe(company, kind, entity, rows)
    project = DbtProject(company.settings)
    project.build(
        ["stg_capacity__measurements", "+int_capacity__deployments"],
        exclude=["resource_type:test", "resource_type:unit_test"],
    )
    [judged] = project.build([gate], command="test")
    assert (judged.name, judged.status) == (gate, status)
    columns, row = shown
    assert company.warehouse_rows(f"select {columns} from ({judged.compiled_sql}) order by all") == [row]


def test_gate_shows_a_deployment_whose_periods_overlap(tmp_path: Path):
    company = SmallCompany.found(tmp_path / "company")
    with open_warehouse(company.settings) as con:
        refresh_views(con, LandingZone(company.settings.landing_dir), discover().values())
    company.write_seed(
        "seed_deployments",
        [deployment("own", "", JANUARY), deployment("own", "", "2026-01-15T00:00:00Z,2026-02-01T00:00:00Z")],
    )
    gate = "intermediate__int_capacity_deployments_periods_monotonic"
    project = DbtProject(company.settings)
    project.build(["+int_capacity__deployments"], exclude=["resource_type:test", "resource_type:unit_test"])
    [judged] = project.build([gate], command="test")
    assert (judged.name, judged.status) == (gate, "fail")
    assert company.warehouse_rows(f"select deployment_id from ({judged.compiled_sql})") == [("own",)]
