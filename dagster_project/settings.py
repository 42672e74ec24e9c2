"""Settings: where state lives, which company it is about, which sources are pulled.

The only reader of environment variables and of the user's YAML file. Everything is checked before anything
runs, and every complaint names the file, the line, the key and the known choices. Values that come from
`${NAME}` are never echoed. What a source's options mean belongs to its connector; what is done with the paths
belongs to their users.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, SerializeAsAny, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from dagster_project.errors import ConfigurationError
from dagster_project.sources import discover
from dagster_project.sources._connector import EnvironmentText, SourceOptions

PROJECT_ROOT = Path(__file__).resolve().parents[1]
DEFAULT_CONFIG_PATH = PROJECT_ROOT / "dagster_project" / "demo" / "novaspark.yaml"
DEFAULT_STATE_DIR = Path(".tokenledger")
DEFAULT_REFERENCE_DIR = PROJECT_ROOT / "seeds"

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

_Path = tuple[str | int, ...]
_Model = TypeVar("_Model", bound=BaseModel)


def _as_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


UtcDatetime = Annotated[datetime, AfterValidator(_as_utc)]


class DemoOptions(BaseModel):
    """Size of the demo company's data set: random seed, number of calls, number of days."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 7
    calls: int = Field(default=500_000, gt=0)
    days: int = Field(default=90, gt=0, le=3660)


class FormerSource(BaseModel):
    """A source that is not pulled any more.

    Attributes:
        name: Its name when it was pulled.
        kind: Its kind then.
        landings: Whether what it landed still counts: `kept`, or `withdrawn` (the files stay, and nothing reads them).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: str
    landings: Literal["kept", "withdrawn"]


class _Document(BaseModel):
    """The configuration file apart from the sources' own options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    organization: str = Field(min_length=1)
    start_date: date
    as_of: UtcDatetime | None = None
    demo: DemoOptions | None = None
    reference_dir: str | None = None
    min_priced_call_share: float = Field(default=0, ge=0, le=1)
    sources: list[dict[str, Any]] = Field(min_length=1)
    former_sources: list[FormerSource] = []


class Settings(BaseModel):
    """The checked configuration of one run; immutable.

    Attributes:
        state_dir: Folder of everything that tokenledger writes.
        config_path: The YAML file that was read.
        organization: Name of the company.
        start_date: First UTC day of the daily partitions.
        as_of: Instant that counts as now for records from the future; None for the clock.
        demo: Size of the demo data; None when there is no demo company.
        reference_dir: Folder of the reference data (seeds).
        min_priced_call_share: A day of which a smaller share of calls has a price is not published; 0 lets every day
            through.
        sources: Options of every source, in the file's order.
        former_sources: Sources that are not pulled any more, and whether what they landed counts.
        hash_key: Key of the pseudonyms of users, TOKENLEDGER_HASH_KEY; None when it is not set.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    state_dir: Path
    config_path: Path
    organization: str
    start_date: date
    as_of: UtcDatetime | None = None
    demo: DemoOptions | None = None
    reference_dir: Path
    min_priced_call_share: float = 0
    sources: tuple[SerializeAsAny[SourceOptions], ...]
    former_sources: tuple[FormerSource, ...] = ()
    hash_key: SecretStr | None = None

    @property
    def feeds_dir(self) -> Path:
        """Where the demo company's feed files are; `{feeds}` in a source's path."""
        return self.state_dir / "feeds"

    @property
    def landing_dir(self) -> Path:
        """Root of the landing zone."""
        return self.state_dir / "landing"

    @property
    def warehouse_path(self) -> Path:
        """The pipeline's own DuckDB file."""
        return self.state_dir / "warehouse.duckdb"

    @property
    def serving_path(self) -> Path:
        """The published DuckDB file that readers open."""
        return self.state_dir / "serving" / "tokenledger.duckdb"

    @property
    def exports_dir(self) -> Path:
        """Finance exports, one folder per period."""
        return self.state_dir / "exports"

    @property
    def dagster_home(self) -> Path:
        """DAGSTER_HOME."""
        return self.state_dir / "dagster"

    @property
    def dbt_dir(self) -> Path:
        """The dbt target and log folder."""
        return self.state_dir / "dbt"


def load_settings(
    *,
    config_path: Path | None = None,
    state_dir: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read and check the configuration.

    Args:
        config_path: The YAML file; default TOKENLEDGER_CONFIG, then the demo company's.
        state_dir: The state directory; default TOKENLEDGER_STATE_DIR, then ./.tokenledger.
        environ: Environment variables; default the process's.

    Raises:
        ConfigurationError: anything is wrong; the message gives file, line, key and known choices.
    """
    variables = os.environ if environ is None else environ
    file = Path(config_path or variables.get("TOKENLEDGER_CONFIG") or DEFAULT_CONFIG_PATH).absolute()
    state = Path(state_dir or variables.get("TOKENLEDGER_STATE_DIR") or DEFAULT_STATE_DIR).absolute()
    yaml_file = _YamlFile.load(file, variables)
    document = yaml_file.check(_Document, yaml_file.value, ())
    context = {"config_dir": file.parent, "feeds_dir": state / "feeds"}
    sources = _sources(yaml_file, document.sources, context)
    _check_former_sources(yaml_file, document.former_sources, sources)
    reference = Path(document.reference_dir or DEFAULT_REFERENCE_DIR).expanduser()
    return Settings(
        state_dir=state,
        config_path=file,
        organization=document.organization,
        start_date=document.start_date,
        as_of=document.as_of,
        demo=document.demo,
        reference_dir=file.parent / reference,
        min_priced_call_share=document.min_priced_call_share,
        sources=sources,
        former_sources=tuple(document.former_sources),
        hash_key=SecretStr(variables["TOKENLEDGER_HASH_KEY"]) if variables.get("TOKENLEDGER_HASH_KEY") else None,
    )


def export_environment(settings: Settings) -> dict[str, str]:
    """Give the environment variables that the dbt project reads."""
    return {"TOKENLEDGER_WAREHOUSE": str(settings.warehouse_path)}


def _sources(
    yaml_file: "_YamlFile", entries: list[dict[str, Any]], context: dict[str, Any]
) -> tuple[SourceOptions, ...]:
    connectors = discover()
    options: list[SourceOptions] = []
    lines: dict[str, int] = {}
    subjects: dict[tuple[str, str], str] = {}
    for position, entry in enumerate(entries):
        where: _Path = ("sources", position)
        for key in ("name", "kind"):
            if key not in entry:
                yaml_file.fail(where, key, "missing, expected one in every source", ["name", "kind"])
        kind = entry["kind"]
        if not isinstance(kind, str) or kind not in connectors:
            yaml_file.fail((*where, "kind"), "kind", "unknown kind of source", sorted(connectors))
        source = yaml_file.check(connectors[kind].options, entry, where, context)
        if source.name in lines:
            problem = f"duplicate source name, first used on line {lines[source.name]}; names must differ"
            yaml_file.fail((*where, "name"), "name", problem)
        lines[source.name] = yaml_file.line((*where, "name"))
        subject = source.sole_subject
        if subject is not None:
            other = subjects.setdefault((kind, subject), source.name)
            if other != source.name:
                problem = f"{kind} {other!r} asks for {subject} too, which would count twice; keep one of the two"
                yaml_file.fail((*where, "name"), "name", problem)
        options.append(source)
    return tuple(options)


def _check_former_sources(
    yaml_file: "_YamlFile", former_sources: list[FormerSource], sources: tuple[SourceOptions, ...]
) -> None:
    seen = {(options.kind, options.name) for options in sources}
    for position, item in enumerate(former_sources):
        where: _Path = ("former_sources", position)
        if item.kind not in discover():
            yaml_file.fail((*where, "kind"), "kind", "unknown kind of source", sorted(discover()))
        if (item.kind, item.name) in seen:
            problem = f"{item.kind} {item.name!r} stands twice in sources and former_sources; expected it once"
            yaml_file.fail((*where, "name"), "name", problem)
        seen.add((item.kind, item.name))


@dataclass
class _YamlFile:
    """A parsed YAML file that remembers on which line every key stands."""

    path: Path
    variables: Mapping[str, str]
    lines: dict[_Path, int] = field(default_factory=dict)
    value: Any = None

    @classmethod
    def load(cls, path: Path, variables: Mapping[str, str]) -> "_YamlFile":
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            msg = (
                f"{path}: cannot read the configuration: {reason}. Expected a YAML file; "
                "set TOKENLEDGER_CONFIG to its path."
            )
            raise ConfigurationError(msg) from None
        loaded = cls(path, variables)
        try:
            node = YAML().compose(text)
        except YAMLError as error:
            mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
            line = mark.line + 1 if mark else 1
            problem = error.problem if isinstance(error, MarkedYAMLError) else "not YAML"
            msg = f"{path}:{line}: not valid YAML: {problem}. Correct the line."
            raise ConfigurationError(msg) from None
        if not isinstance(node, MappingNode):
            msg = f"{path}:1: expected a mapping; known: {', '.join(_Document.model_fields)}"
            raise ConfigurationError(msg)
        loaded.value = loaded._plain(node, (), ())
        return loaded

    def line(self, where: _Path) -> int:
        """Line of the innermost known part of a path."""
        while where not in self.lines and where:
            where = where[:-1]
        return self.lines.get(where, 1)

    def fail(self, where: _Path, key: object, problem: str, known: list[str] | None = None) -> NoReturn:
        choices = f"; known: {', '.join(known)}" if known else ""
        msg = f"{self.path}:{self.line(where)}: key {str(key)!r}: {problem}{choices}"
        raise ConfigurationError(msg)

    def check(self, model: type[_Model], value: object, where: _Path, context: dict[str, Any] | None = None) -> _Model:
        try:
            return model.model_validate(value, context=context)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False, include_context=False)
        # A misspelt key is both unknown and missing; the unknown one is what its writer can see.
        first = min(found, key=lambda item: item["type"] != "extra_forbidden")
        location = tuple(part for part in first["loc"])
        while location and (*where, *location) not in self.lines and first["type"] != "missing":
            location = location[:-1]
        key = location[-1] if location else where[-1] if where else "(file)"
        known = None
        if first["type"] in {"extra_forbidden", "missing"}:
            known = _known_keys(model, location[:-1])
        problem = {
            "extra_forbidden": "unknown key",
            "missing": "missing, expected a value",
        }.get(first["type"], first["msg"].removeprefix("Value error, "))
        return self.fail((*where, *location), key, problem, known)

    def _plain(self, node: Node, where: _Path, ancestors: tuple[int, ...]) -> Any:  # noqa: ANN401 - YAML is untyped
        """Turn a node into Python values; times stay text and `${NAME}` is replaced."""
        self.lines.setdefault(where, node.start_mark.line + 1)
        if id(node) in ancestors:
            self.fail(where, where[-1] if where else "(file)", "an alias that contains itself")
        ancestors = (*ancestors, id(node))
        if isinstance(node, MappingNode):
            mapping: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key = str(key_node.value)
                self.lines[(*where, key)] = key_node.start_mark.line + 1
                if key in mapping:
                    self.fail((*where, key), key, "given twice")
                mapping[key] = self._plain(value_node, (*where, key), ancestors)
            return mapping
        if isinstance(node, SequenceNode):
            return [self._plain(item, (*where, index), ancestors) for index, item in enumerate(node.value)]
        return self._scalar(node, where)

    def _scalar(self, node: Node, where: _Path) -> str | int | bool | None:
        # ruamel.yaml marks the places at which folded text (`>`) was folded by a bell character.
        text = str(node.value).replace("\a", "") if getattr(node, "style", None) == ">" else str(node.value)
        match str(node.tag).rpartition(":")[2]:
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" if re.fullmatch(r"[+-]?[0-9_]+", text):
                return int(text)
        names = tuple(_VARIABLE.findall(text))
        replaced = _VARIABLE.sub(lambda found: self._variable(found.group(1), where), text)
        return EnvironmentText.of(replaced, names) if names else text

    def _variable(self, name: str, where: _Path) -> str:
        if name not in self.variables:
            problem = f"environment variable {name} is not set, expected by ${{{name}}}; set it and start again"
            self.fail(where, where[-1] if where else "(file)", problem)
        # A file that a value is mounted as ends with a line break as a rule.
        return self.variables[name].rstrip("\r\n")


def _known_keys(model: type[BaseModel], inside: tuple[str | int, ...]) -> list[str]:
    """Names that a model, or the model at a path inside it, knows."""
    for part in inside:
        if isinstance(part, int):
            continue
        known = model.model_fields.get(str(part))
        annotation = known.annotation if known else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        nested = [item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)]
        if not nested:
            return []
        model = nested[0]
    return list(model.model_fields)
