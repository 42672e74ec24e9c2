"""What every connector is made of: entities, inputs, batches, rejects, options.

A connector turns one wire format into typed record batches and gives them no business meaning. The types here
are the whole contract between a connector (`sources/<kind>.py`) and the landing zone
(`warehouse/landing.py`). Reading files is in `_files.py` and `_tabular.py`, typing columns in `_columns.py`.
Nothing here knows Dagster or SQL.
"""

import glob
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pyarrow as pa
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationInfo

from dagster_project.errors import PermanentSourceError

Feed = Literal["usage", "rates", "invoices", "reports", "kpis", "capacity"]

UTC_TIMESTAMP = pa.timestamp("us", tz="UTC")
RAW_TEXT_LIMIT_BYTES = 64 * 1024
_NAME_LIMIT = 100
# fsspec calls these file systems too; addresses are configured as `url`, and files by their path.
_HEADER_TEXT = re.compile(r"[\x20-\x7e]+")
_NOT_STORES = frozenset({"http", "https", "file", "local", "data", "cached", "simplecache", "filecache", "blockcache"})


@dataclass(frozen=True)
class Entity:
    """One table that a connector lands.

    Attributes:
        name: Second half of the raw table's name, `raw_<kind>__<name>`.
        schema: The entity's own columns; the landing zone puts its own columns before them.
        day_column: Timestamp or date column whose UTC date splits the landing files; None for undated feeds.
        token_columns: The columns that hold input and output tokens, summed into the manifest.
        amount_columns: Decimal columns that are summed exactly into the manifest.
        user_columns: Text columns that name a person; they land keyed-hashed unless the source keeps them.
        known_attributes: Names that `attributes_json` may hold without being new; None where any name may stand there.
        may_be_empty: Whether a source may rightly have no record of it; its gates then hold without any.
        is_rounded: Whether decimals beyond those of a column are rounded, half to even, as in quotients that a bill
            writes out; a record with more decimals is rejected otherwise.
    """

    name: str
    schema: pa.Schema
    day_column: str | None = None
    token_columns: tuple[str, str] | None = None
    amount_columns: tuple[str, ...] = ()
    user_columns: tuple[str, ...] = ()
    known_attributes: frozenset[str] | None = None
    may_be_empty: bool = False
    is_rounded: bool = False


@dataclass(frozen=True)
class Reject:
    """A record that cannot be landed, with what was wrong and what it looked like.

    Attributes:
        record_index: 0-based position of the record in its input.
        reason_code: Short stable name, `value_unparsable` and the like.
        reason: One sentence with the column and what was expected.
        raw_text: The record as it came, or what of it may be kept, cut to `RAW_TEXT_LIMIT_BYTES`.
    """

    record_index: int
    reason_code: str
    reason: str
    raw_text: str

    @classmethod
    def of(cls, record_index: int, reason_code: str, reason: str, raw: str | bytes) -> "Reject":
        """Build a reject from raw content of any size and any encoding."""
        data = raw.encode("utf-8", "backslashreplace") if isinstance(raw, str) else raw
        text = data[:RAW_TEXT_LIMIT_BYTES].decode("utf-8", "backslashreplace")
        return cls(record_index, reason_code, reason, text)

    @classmethod
    def of_line(
        cls, record_index: int, reason_code: str, reason: str, line: bytes, members: Iterable[str] = ()
    ) -> "Reject":
        """Build a reject from a line in which prompts and users may stand anywhere: it is named, not kept.

        Args:
            record_index: 0-based position of the record in its input.
            reason_code: Short stable name.
            reason: One sentence that quotes nothing of the line.
            line: The line; of a longer one as much as was read.
            members: Names of the members of the object that it is.
        """
        return cls.of(record_index, reason_code, reason, unsaid(line, members))


def unsaid(line: bytes, members: Iterable[str] = ()) -> bytes:
    """Give what is kept of a line that cannot be split into what was said and what was used: a name for it, as JSON.

    Args:
        line: The line; of a longer one as much as was read.
        members: Names of the members of the object that it is.
    """
    told = {"read_bytes": len(line), "sha256": hashlib.sha256(line).hexdigest()}
    names = [name[:_NAME_LIMIT] for name in islice(members, _NAME_LIMIT)]
    return json.dumps(told | ({"members": names} if names else {})).encode()


@dataclass(frozen=True)
class Batch:
    """Some consecutive records of one input, for one entity.

    Attributes:
        entity: Name of the entity that the records belong to.
        records: The readable records, in the entity's schema.
        record_index: int64 array, the position of each record in its input.
        rows_read: Records consumed from the input for this batch; must equal records plus rejects.
        rejects: The unreadable ones.
        has_pseudonyms: Whether its users are what may land already, so that the landing zone leaves them as they are.
    """

    entity: str
    records: pa.RecordBatch
    record_index: pa.Array
    rows_read: int
    rejects: tuple[Reject, ...] = ()
    has_pseudonyms: bool = False


@dataclass(frozen=True)
class InputIdentity:
    """What makes the content of an input the same as before: its hash and its size in bytes."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class InputPull:
    """One input of a source (a file, a package version), not yet read.

    Attributes:
        input_uri: Name of the input that survives a move of the state directory.
        stamp: Cheap fingerprint; equal non-empty stamps mean unchanged content. Empty when it cannot be
            trusted.
        identify: Hashes the content; raises a source error when the input cannot be read.
        batches: Reads the content from its start and, last of all, checks that it did not change meanwhile.
        reading: What else than the source's options decides how the content is read; when it changes, the same content
            is landed anew.
        release: Gives back what identifying or reading the input took, such as a copy of it; whoever lists inputs calls
            it when the next one is asked for.
        modified_at: When the content was last written, as its file system or object store says; None when it does not.
    """

    input_uri: str
    stamp: str
    identify: Callable[[], InputIdentity]
    batches: Callable[[], Iterator[Batch]]
    reading: str = ""
    release: Callable[[], None] = lambda: None
    modified_at: datetime | None = None


@dataclass(frozen=True)
class LandedInput:
    """The current landing of an input.

    Attributes:
        landed_at: When it landed.
        sha256: Hash of the content that did.
        size_bytes: Its size.
        is_current_reading: Whether it was read as it would be read in this pull.
    """

    landed_at: datetime
    sha256: str
    size_bytes: int
    is_current_reading: bool = True


@dataclass(frozen=True)
class PullContext:
    """What a connector may know about the pull.

    Attributes:
        now: The UTC instant at which it counts as done.
        fetched_dir: Folder for what is fetched, which is then read as a file.
        reference_dir: Folder of the company's reference data; None when there is none.
        landed: The source's inputs whose landings are current.
        hash_key: Key of the pseudonyms of users; None when there is none.
    """

    now: datetime
    fetched_dir: Path
    reference_dir: Path | None = None
    landed: Mapping[str, LandedInput] = field(default_factory=dict)
    hash_key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class FilePattern:
    """Files below a base folder, by a relative path that may hold glob characters.

    Attributes:
        base: Folder that may move without changing the identity of the inputs.
        pattern: Path or glob relative to `base`.
        label: What stands for `base` in an `input_uri`.
    """

    base: Path
    pattern: str
    label: str = ""

    def files(self) -> list[tuple[str, Path]]:
        """Give (input_uri, path) of every matching file, sorted by name.

        Raises:
            PermanentSourceError: nothing matches.
        """
        literal = self.base / self.pattern
        if literal.is_file():
            return [(f"{self.label}{self.pattern}", literal)]
        names = sorted(glob.glob(self.pattern, root_dir=self.base, recursive=True))  # noqa: PTH207 - root_dir
        files = [
            (f"{self.label}{Path(name).as_posix()}", self.base / name) for name in names if (self.base / name).is_file()
        ]
        if not files:
            msg = (
                f"Looked for {self.label}{self.pattern} in {self.base}: no file matches, expected at "
                "least one. "
                "Correct `path` in the source configuration or deliver the file."
            )
            raise PermanentSourceError(msg)
        return files


@dataclass(frozen=True)
class ObjectPattern:
    """Objects of a store that fsspec knows, by a URL whose path may hold glob characters.

    Attributes:
        url: `s3://bucket/usage/*.jsonl.gz` and the like; without credentials.
    """

    url: str


def parse_file_pattern(text: str, *, config_dir: Path, feeds_dir: Path) -> FilePattern | ObjectPattern:
    """Read a configured `path`: a store's URL, `{feeds}/...`, relative to the configuration file, or absolute.

    Raises:
        ValueError: it holds a placeholder other than a leading `{feeds}/`, or is a URL of an unknown kind.
    """
    if "://" in text:
        return _object_pattern(text)
    if text.startswith("{feeds}/"):
        pattern = FilePattern(feeds_dir, text.removeprefix("{feeds}/"), "feeds/")
    elif text.startswith("~/"):
        return parse_file_pattern(str(Path(text).expanduser()), config_dir=config_dir, feeds_dir=feeds_dir)
    elif text.startswith("/"):
        pattern = FilePattern(Path("/"), text.lstrip("/"), "/")
    else:
        pattern = FilePattern(config_dir, text)
    if not pattern.pattern or re.search(r"[{}]", pattern.pattern):
        msg = "expected a path, relative or absolute, in which only a leading '{feeds}/' is replaced"
        raise ValueError(msg)
    return pattern


def _object_pattern(url: str) -> ObjectPattern:
    from fsspec import available_protocols  # noqa: PLC0415 - only a configured store needs it

    protocol, _, rest = url.partition("://")
    if protocol not in available_protocols() or protocol in _NOT_STORES or "@" in rest.partition("/")[0]:
        msg = (
            "expected a path, or the URL of an object store that fsspec knows (s3://, gs://, az://, ...) without "
            "credentials; these stand in `storage`"
        )
        raise ValueError(msg)
    return ObjectPattern(url)


def _validate_file_pattern(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str | Path):
        return value
    context: dict[str, Any] = info.context or {}
    here = Path.cwd()
    return parse_file_pattern(
        str(value), config_dir=context.get("config_dir", here), feeds_dir=context.get("feeds_dir", here)
    )


def _validate_local_pattern(value: object, info: ValidationInfo) -> object:
    pattern = _validate_file_pattern(value, info)
    if isinstance(pattern, ObjectPattern):
        msg = "expected a path of this machine"
        raise ValueError(msg)
    return pattern


FilePatternField = Annotated[FilePattern | ObjectPattern, BeforeValidator(_validate_file_pattern)]
LocalPatternField = Annotated[FilePattern, BeforeValidator(_validate_local_pattern)]


def _hidden(value: Any) -> Any:  # noqa: ANN401 - any option of any store
    """Put every text into a wrapper that shows stars."""
    if isinstance(value, dict):
        return {name: _hidden(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item) for item in value]
    return SecretStr(value) if isinstance(value, str) else value


StorageOptions = Annotated[dict[str, Any], AfterValidator(_hidden)]
"""What fsspec is given to reach an object store: endpoint, credentials; every text in it counts as secret."""


class EnvironmentText(str):
    """Text in which `${NAME}` was replaced by environment variables; `variables` are their names."""

    variables: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str, variables: tuple[str, ...]) -> Self:
        """Build it from the text as it reads after the replacement."""
        made = cls(text)
        made.variables = variables
        return made


class EnvironmentSecret(SecretStr):
    """A secret that knows which environment variable it came from, so that a refusal can name it."""

    origin: str = "the secret of the source"

    @classmethod
    def of(cls, text: str, origin: str) -> Self:
        """Build it from its text and from what to call it, `the environment variable NAME`."""
        made = cls(text)
        made.origin = origin
        return made


def _validate_secret(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str):
        return value
    origin = EnvironmentSecret.origin
    if isinstance(value, EnvironmentText):
        origin = f"the environment variable {' and '.join(value.variables)}"
    elif info.context:
        msg = "expected ${NAME} with the name of an environment variable; a secret does not stand in the file"
        raise ValueError(msg)
    if not value.strip():
        msg = f"{origin} is empty, expected a secret"
        raise ValueError(msg)
    # A file that a secret is mounted as ends with a line break as a rule.
    return EnvironmentSecret.of(value.strip(), origin)


def fitting_a_header(secret: SecretStr) -> SecretStr:
    """Give a secret that a header can have.

    Raises:
        ValueError: it holds other characters; the text names where the secret came from, and nothing of it.
    """
    if not _HEADER_TEXT.fullmatch(secret.get_secret_value()):
        msg = f"{secret_origin(secret)} holds a character that no header can have, expected one line of printable ASCII"
        raise ValueError(msg)
    return secret


Secret = Annotated[SecretStr, BeforeValidator(_validate_secret)]
"""Option that holds a secret: `${NAME}` in the configuration, stars in every text that is made of it."""

HeaderSecret = Annotated[Secret, AfterValidator(fitting_a_header)]
"""Option that holds a secret which goes into a header."""


def secret_origin(secret: SecretStr) -> str:
    """Say where a secret came from, `the environment variable NAME`."""
    return getattr(secret, "origin", EnvironmentSecret.origin)


def without_secrets(text: str, secrets: Iterable[SecretStr]) -> str:
    """Put stars in the place of secrets."""
    for secret in secrets:
        if value := secret.get_secret_value():
            text = text.replace(value, "***")
    return text


def hashed_user(user: str, key: bytes) -> str:
    """Give the pseudonym of a user identifier: HMAC-SHA256 under the company's key, hexadecimal."""
    return hmac.new(key, user.encode(), hashlib.sha256).hexdigest()


class SourceOptions(BaseModel):
    """Options that every configured source has; a connector adds its own in a subclass.

    Attributes:
        name: The source's own name.
        kind: Its connector.
        on_drift: What a record that cannot be read does: it alone is rejected, or its whole input is refused and the
            feed stops; either way it is kept with its reason.
        keep_user_ids: Whether identifiers of users land as they are, instead of as pseudonyms.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    kind: str
    on_drift: Literal["reject", "stop"] = "reject"
    keep_user_ids: bool = False

    @property
    def sole_subject(self) -> str | None:
        """What would count twice if another source of the kind read it too, in words; None for nothing."""
        return None

    def reading_sha256(self) -> str:
        """Hash what decides how content is read, so that a changed option lands the same input anew.

        Where and how it is fetched does not: fields of nested options that are excluded from dumps are left out.
        """
        text = self.model_dump_json(exclude={"name", "path", "url", "http"})
        return hashlib.sha256(text.encode()).hexdigest()


class FileSourceOptions(SourceOptions):
    """Options of a source whose inputs are files, or objects that are read as files."""

    path: FilePatternField
    storage: StorageOptions = Field(default={}, exclude=True)


@dataclass(frozen=True)
class Connector:
    """How to pull one kind of source.

    Attributes:
        kind: Name in the configuration and first part of the raw tables' names; equals the module's name.
        feed: Which of the feeds it belongs to.
        entities: The tables it lands.
        options: Model that validates its configuration.
        read: Lists the inputs of a configured source, lazily; each input then fails or lands on its own.
        version: Raised when the connector reads the same content differently, so that it is landed anew.
        is_whole: Whether an input counts as a whole: a version of it with a record that cannot be landed is refused,
            and the version before stays. The first version of an input is landed without those records.
        is_snapshot: Whether each pull of a source lists the whole of it: what was landed from an input that a
            complete pull no longer lists is withdrawn. Otherwise a vanished input keeps its landing.
        check: Tries a configured source (its credentials, its reach, one page) and says in one line what it found;
            raises a source error that says what to fix. None, or what gives None, has the first input read instead.
        staged_with: Kind whose staging models read what it lands too, because its entities have the same columns; None
            for its own.
    """

    kind: str
    feed: Feed
    entities: tuple[Entity, ...]
    options: type[SourceOptions]
    read: Callable[[Any, PullContext], Iterator[InputPull]]
    version: int = 1
    is_snapshot: bool = False
    is_whole: bool = False
    check: Callable[[Any, PullContext], str | None] | None = None
    staged_with: str | None = None

    @property
    def staging_kind(self) -> str:
        """Kind whose staging models read what it lands."""
        return self.staged_with or self.kind

    def entity(self, name: str) -> Entity:
        """Give the entity of that name."""
        return next(entity for entity in self.entities if entity.name == name)
