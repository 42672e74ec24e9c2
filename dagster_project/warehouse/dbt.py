"""The dbt project as a library: parse once, build parts of it in this process, report what every node did.

The pure argument builders and the reading of results live here. Which parts become which assets is `assets.py`.
"""

import hashlib
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from ruamel.yaml import YAML

from dagster_project.settings import DEFAULT_REFERENCE_DIR, PROJECT_ROOT, Settings, export_environment
from dagster_project.sources import discover
from dagster_project.warehouse.connection import writer_lock
from dagster_project.warehouse.value_equations import compile_equations

DBT_PROJECT_DIR = PROJECT_ROOT / "dbt_project"

SHARED_SEEDS = frozenset({"seed_charge_classes.csv", "seed_tag_keys.csv", "seed_unit_kinds.csv"})
"""Reference files that the project maintains for companies without rows of their own; other absent ones are empty."""


@dataclass(frozen=True)
class NodeResult:
    """What dbt did with one node.

    Attributes:
        unique_id: dbt's name of the node.
        name: The model's, seed's or test's own name.
        resource_type: model, seed, test or unit_test.
        status: success, pass, fail, error, skipped, warn.
        failures: Violations that a test counted; None for what is not a test.
        message: What dbt said.
        execution_s: Seconds that the node took.
        compiled_sql: The SQL that ran; empty for a seed.
    """

    unique_id: str
    name: str
    resource_type: str
    status: str
    failures: int | None
    message: str
    execution_s: float
    compiled_sql: str

    @property
    def is_ok(self) -> bool:
        """Whether the node did what it should."""
        return self.status in {"success", "pass", "warn"}


@dataclass(frozen=True)
class DailyTable:
    """A model that is built day by day.

    Attributes:
        day_column: Its UTC day.
        rebuilt_days_around: Days before and after the window that a build replaces too.
    """

    day_column: str
    rebuilt_days_around: int


def daily_tables(manifest: Mapping[str, Any], stage: str) -> dict[str, DailyTable]:
    """Give a stage's tables that are built day by day, from the manifest."""
    return {
        node["name"]: DailyTable(day_column=node["config"]["day_column"], rebuilt_days_around=rebuilt_days_around(node))
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model"
        and node["fqn"][1] == stage
        and node["config"]["materialized"] == "incremental"
    }


def rebuilt_days_around(node: Mapping[str, Any]) -> int:
    """Give the days before and after the window that a model's build replaces too: the value of the var it names."""
    name = node["config"].get("rebuild_days_around")
    return int(dbt_project_vars()[name]) if name else 0


@cache
def dbt_project_vars() -> dict[str, Any]:
    """Give the defaults of the project's vars."""
    content = YAML(typ="safe").load(DBT_PROJECT_DIR / "dbt_project.yml")
    return dict(content["vars"])


def discovered_vars() -> dict[str, list[str]]:
    """Give the dbt vars that name the staging models, or raw tables, of each feed, from the connectors that exist."""
    connectors = discover().values()
    feeds = {"usage_models": "usage", "invoice_models": "invoices", "report_models": "reports"}
    return {
        **{
            name: sorted(
                {
                    f"stg_{connector.staging_kind}__{entity.name}"
                    for connector in connectors
                    if connector.feed == feed
                    for entity in connector.entities
                }
            )
            for name, feed in feeds.items()
        },
        **{
            f"{entity_name.removesuffix('s')}_models": sorted(
                f"stg_{connector.kind}__{entity_name}"
                for connector in connectors
                if connector.feed == "rates" and any(entity.name == entity_name for entity in connector.entities)
            )
            for entity_name in ("rates", "multipliers", "allowances")
        },
        **{
            f"{entity_name.removesuffix('s')}_tables": sorted(
                f"raw_{connector.kind}__{entity_name}"
                for connector in connectors
                if connector.feed == "capacity" and any(entity.name == entity_name for entity in connector.entities)
            )
            for entity_name in ("measurements", "deployments")
        },
    }


def filled_seeds(reference_dir: Path) -> set[str]:
    """Give the names of the reference files that have rows below their header."""
    return {
        path.stem
        for path in reference_dir.glob("*.csv")
        if len(path.read_text(encoding="utf-8").strip().splitlines()) > 1
    }


def window_vars(first_date: date, last_date: date) -> dict[str, str]:
    """Give the dbt vars of a window of UTC days, both ends inclusive.

    Raises:
        ValueError: the window ends before it begins.
    """
    if last_date < first_date:
        msg = f"The window ends on {last_date}, before it begins on {first_date}."
        raise ValueError(msg)
    return {"min_date": first_date.isoformat(), "max_date": last_date.isoformat()}


def project_dir(settings: Settings) -> Path:
    """Give the folder from which dbt runs: a copy of the project beside a copy of the reference data.

    dbt writes what it ran under `target/run/<path of the seed>`: a seed folder outside the project's own tree would
    be written over. The copy lets every company have its own reference folder, and never touches it.
    """
    return settings.dbt_dir / "workspace" / "dbt_project"


def dbt_arguments(
    command: str,
    *,
    settings: Settings,
    select: Sequence[str] = (),
    exclude: Sequence[str] = (),
    variables: Mapping[str, Any] | None = None,
) -> list[str]:
    """Build the arguments of one dbt invocation."""
    arguments = [
        command,
        "--project-dir", str(project_dir(settings)),
        "--profiles-dir", str(project_dir(settings)),
        "--target-path", str(settings.dbt_dir / "target"),
        "--log-path", str(settings.dbt_dir / "logs"),
        "--vars", orjson.dumps(dict(variables or {}), option=orjson.OPT_SORT_KEYS).decode(),
    ]  # fmt: skip
    if select:
        arguments += ["--select", *select]
    if exclude:
        arguments += ["--exclude", *exclude]
    return ["--quiet", "--no-use-colors", "--log-level-file", "error", "--no-send-anonymous-usage-stats", *arguments]


class DbtProject:
    """The dbt project bound to one configuration.

    The manifest is parsed once per process and once per change of the project's files: a fingerprint of them is
    kept beside it in the state directory.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._manifest: Any = None

    @property
    def manifest_path(self) -> Path:
        """Where the parsed manifest is."""
        return self._settings.dbt_dir / "target" / "manifest.json"

    def variables(self) -> dict[str, Any]:
        """Give the vars that do not depend on the run: staging models, precedence of rates, coverage, equations."""
        connectors = discover()
        return {
            **discovered_vars(),
            "rate_precedence": [
                source.name for source in self._settings.sources if connectors[source.kind].feed == "rates"
            ],
            "min_priced_call_share": self._settings.min_priced_call_share,
            "value_equations": [equation.as_dbt_var() for equation in compile_equations(self._settings.reference_dir)],
        }

    def prepare(self) -> Path:
        """Parse the project unless the stored manifest is of these very files; give the manifest's path.

        Reference data are copied anew where they have changed: what dbt parses is their names alone.
        """
        stamp = self._settings.dbt_dir / "target" / "fingerprint"
        parsed = self.parsed_fingerprint()
        is_parsed = (
            self.manifest_path.exists()
            and (self._settings.dbt_dir / "target" / "partial_parse.msgpack").exists()
            and stamp.exists()
            and stamp.read_text() == parsed
        )
        workspace = project_dir(self._settings).parent
        seeds = {workspace / name: content for name, content in self._seeds()}
        if is_parsed and all(path.exists() and path.read_bytes() == content for path, content in seeds.items()):
            return self.manifest_path
        with writer_lock(self._settings):
            if not is_parsed:
                shutil.rmtree(workspace, ignore_errors=True)
                for path in _project_files():
                    _write(workspace / _name_in_project(path), path.read_bytes())
            for path, content in seeds.items():
                _write(path, content)
            if not is_parsed:
                self._parse()
                stamp.write_text(parsed)
        return self.manifest_path

    def manifest(self) -> Mapping[str, Any]:
        """Give the parsed manifest as plain data."""
        content: Mapping[str, Any] = orjson.loads(self.prepare().read_bytes())
        return content

    def build(
        self,
        select: Sequence[str],
        *,
        exclude: Sequence[str] = (),
        variables: Mapping[str, Any] | None = None,
        command: str = "build",
    ) -> list[NodeResult]:
        """Build and test a selection of nodes, and leave the warehouse file free for others.

        Args:
            select: dbt selectors; their union is built.
            exclude: dbt selectors of what is left out of it.
            variables: vars of this run, on top of the fixed ones.
            command: `build`, or another dbt command that takes a selection.

        Returns:
            One result per node, in the order in which they finished.

        Raises:
            RuntimeError: dbt could not even start building, for instance because a model does not compile.
        """
        self.prepare()
        arguments = dbt_arguments(
            command,
            settings=self._settings,
            select=select,
            exclude=exclude,
            variables={**self.variables(), **(variables or {})},
        )
        return self._build(arguments, self._stored_manifest())

    def build_folder(
        self,
        selectors: Sequence[str],
        *,
        left_out_tags: Collection[str] = (),
        variables: Mapping[str, Any] | None = None,
    ) -> list[NodeResult]:
        """Build and test the models or seeds that some selectors name, as `build` does, but in less time.

        dbt is handed these nodes, their tests and what they read, and nothing else: what an invocation costs beside
        its queries grows with the nodes that dbt knows, not with those that it builds.

        Args:
            selectors: `fqn:` selectors of folders, or `resource_type:seed`.
            left_out_tags: Tags of tests that are left out.
            variables: vars of this run, on top of the fixed ones.
        """
        self.prepare()
        arguments = dbt_arguments(
            "build", settings=self._settings, select=selectors, variables={**self.variables(), **(variables or {})}
        )
        return self._build(arguments, _part(self._stored_manifest(), selectors, frozenset(left_out_tags)))

    def _build(self, arguments: Sequence[str], manifest: Any) -> list[NodeResult]:  # noqa: ANN401 - dbt ships no types
        with writer_lock(self._settings):
            outcome = self._run(["--no-write-json", "--no-populate-cache", *arguments], manifest)
        return list(_results(outcome.result or ()))

    def fingerprint(self) -> str:
        """Hash everything that dbt reads: the project, the reference data, the vars."""
        digest = hashlib.sha256(self.parsed_fingerprint().encode())
        for _, content in self._seeds():
            digest.update(content)
        return digest.hexdigest()

    def parsed_fingerprint(self) -> str:
        """Hash everything that dbt parses: the project, the names of the reference files, the vars."""
        digest = hashlib.sha256(orjson.dumps(self.variables(), option=orjson.OPT_SORT_KEYS))
        for path in _project_files():
            digest.update(_name_in_project(path).encode())
            digest.update(_content_digest(path, path.stat().st_mtime_ns, path.stat().st_size))
        for name, _ in self._seeds():
            digest.update(name.encode())
        return digest.hexdigest()

    def _parse(self) -> None:
        self._manifest = self._run(dbt_arguments("parse", settings=self._settings, variables=self.variables())).result

    def _run(self, arguments: Sequence[str], manifest: Any = None) -> Any:  # noqa: ANN401 - dbt ships no types
        from dbt.cli.main import dbtRunner  # noqa: PLC0415 - 1.5 s that a mere import must not cost

        self._settings.state_dir.mkdir(parents=True, exist_ok=True)
        _name_flags_without_looking_for_their_module()
        with _environment(export_environment(self._settings)):
            runner = dbtRunner(manifest=manifest)
            try:
                outcome = runner.invoke(list(arguments))
            finally:
                _close_connections()
        if outcome.exception is not None:
            msg = f"dbt {' '.join(arguments)} did not run: {outcome.exception}"
            raise RuntimeError(msg) from outcome.exception
        return outcome

    def _stored_manifest(self) -> Any:  # noqa: ANN401 - dbt ships no types
        if self._manifest is None:
            from dbt.contracts.graph.manifest import Manifest  # noqa: PLC0415 - as above

            stored = self._settings.dbt_dir / "target" / "partial_parse.msgpack"
            self._manifest = Manifest.from_msgpack(stored.read_bytes())
            for node in self._manifest.nodes.values():
                if node.resource_type == "seed":  # the state directory may have moved since
                    node.root_path = str(project_dir(self._settings))
            self._manifest.build_flat_graph()
        return self._manifest

    def _seeds(self) -> Iterator[tuple[str, bytes]]:
        """Give name and content of every reference file that dbt reads."""
        for name in sorted(path.name for path in DEFAULT_REFERENCE_DIR.glob("*.csv")):
            yield f"seeds/{name}", _seed(name, self._settings.reference_dir)


def _project_files() -> list[Path]:
    """Give every file of the dbt project that dbt reads."""
    paths = [DBT_PROJECT_DIR / "dbt_project.yml", DBT_PROJECT_DIR / "profiles.yml"]
    for folder in ("models", "macros", "tests"):
        paths += sorted(path for path in (DBT_PROJECT_DIR / folder).rglob("*") if path.is_file())
    return paths


def _name_in_project(path: Path) -> str:
    return f"dbt_project/{path.relative_to(DBT_PROJECT_DIR).as_posix()}"


@cache
def _content_digest(path: Path, mtime_ns: int, size_bytes: int) -> bytes:  # noqa: ARG001 - what tells a change
    return hashlib.sha256(path.read_bytes()).digest()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _part(manifest: Any, selectors: Sequence[str], left_out_tags: frozenset[str]) -> Any:  # noqa: ANN401 - as above
    """Give the manifest of some folders: their nodes, the tests of these, what they read, without parents.

    A test that looks at models of several folders runs with the one that it judges, when all of them are built.
    """
    from dbt.artifacts.resources import DependsOn  # noqa: PLC0415 - as above
    from dbt.contracts.graph.manifest import Manifest  # noqa: PLC0415 - as above

    members = {
        unique_id
        for unique_id, node in manifest.nodes.items()
        if node.resource_type != "test" and any(_is_selected(node, selector) for selector in selectors)
    }
    nodes = {
        unique_id: node
        for unique_id, node in manifest.nodes.items()
        if unique_id in members
        or (node.resource_type == "test" and node.attached_node in members and not left_out_tags & set(node.tags))
    }
    sources = {}
    for unique_id in sorted({parent for node in nodes.values() for parent in node.depends_on_nodes} - nodes.keys()):
        if unique_id in manifest.sources:
            sources[unique_id] = manifest.sources[unique_id]
            continue
        parent = copy(manifest.nodes[unique_id])
        if parent.depends_on_nodes:
            parent.depends_on = DependsOn(macros=parent.depends_on.macros)
        nodes[unique_id] = parent
    part = Manifest(nodes=nodes, sources=sources, macros=manifest.macros, metadata=manifest.metadata)
    part.build_flat_graph()
    return part


def _is_selected(node: Any, selector: str) -> bool:  # noqa: ANN401 - as above
    method, _, value = selector.partition(":")
    if method == "resource_type":
        return str(node.resource_type) == value
    return ".".join(node.fqn).startswith(f"{value}.")


def _seed(name: str, reference_dir: Path) -> bytes:
    """Give a reference file's content: the company's own, or no rows at all, or what is the same for everybody."""
    if name in SHARED_SEEDS and Path(name).stem not in filled_seeds(reference_dir):
        return (DEFAULT_REFERENCE_DIR / name).read_bytes()
    if (reference_dir / name).exists():
        return (reference_dir / name).read_bytes()
    return (DEFAULT_REFERENCE_DIR / name).read_bytes().splitlines(keepends=True)[0]


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for dbt's `env_var` and put back what was there."""
    before = {name: os.environ.get(name) for name in variables}  # noqa: TID251 - dbt reads nothing else
    os.environ.update(variables)  # noqa: TID251
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)  # noqa: TID251
            else:
                os.environ[name] = value  # noqa: TID251


@cache
def _name_flags_without_looking_for_their_module() -> None:
    """Spare dbt the search for a name, at each invocation and flag of behaviour, through the source of the whole stack.

    It is the name of the module that declared the flag, which stands in the warning that the flag is off.
    """
    from dbt_common.behavior_flags import BehaviorFlagRendered  # noqa: PLC0415 - as above

    setattr(BehaviorFlagRendered, "_default_source", staticmethod(lambda: "dbt"))  # noqa: B010 - no setting does it


def _close_connections() -> None:
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager  # noqa: PLC0415 - as above

    DuckDBConnectionManager.close_all_connections()


def _results(results: Iterable[Any]) -> Iterator[NodeResult]:
    for result in results:
        yield NodeResult(
            unique_id=result.node.unique_id,
            name=result.node.name,
            resource_type=str(result.node.resource_type),
            status=str(result.status),
            failures=result.failures,
            message=result.message or "",
            execution_s=result.execution_time,
            compiled_sql=getattr(result.node, "compiled_code", None) or "",
        )
