"""Object storage: objects of a real S3 server are inputs, copied when they changed; refusals are told apart."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from dagster_project.errors import ConfigurationError
from dagster_project.settings import load_settings
from dagster_project.sources import _objects
from dagster_project.warehouse.landing import Landing, LandingZone, SourceFailure
from tests.sources.pulling import FIXTURES, Pulled, pull

TRACES = (FIXTURES / "otlp" / "traces.jsonl").read_bytes()
BUCKET = "telemetry"


@dataclass
class Store:
    """A server that speaks S3, and what a source needs to reach it."""

    url: str
    client: Any

    @property
    def storage(self) -> dict[str, Any]:
        return {"key": "reader", "secret": "not-a-secret", "client_kwargs": {"endpoint_url": self.url}}

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body)

    def pull(self, folder: Path, path: str, **storage: Any) -> Pulled:  # noqa: ANN401 - any option
        return pull(folder, "otlp_files", path=path, storage={**self.storage, **storage})


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def store(server: str) -> Iterator[Store]:
    client = boto3.client(
        "s3",
        endpoint_url=server,
        region_name="us-east-1",
        aws_access_key_id="writer",
        aws_secret_access_key="not-a-secret",  # noqa: S106 - the server takes any
    )
    client.create_bucket(Bucket=BUCKET)
    yield Store(server, client)
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    client.delete_bucket(Bucket=BUCKET)


def test_objects_are_inputs_named_by_their_address(tmp_path: Path, store: Store):
    store.put("traces/b.jsonl", TRACES)
    store.put("traces/a.jsonl.gz", gzip.compress(TRACES))
    store.put("other/c.jsonl", TRACES)
    landings = store.pull(tmp_path, f"s3://{BUCKET}/traces/*.jsonl*").results
    assert [item.input_uri for item in landings] == [
        f"s3://{BUCKET}/traces/a.jsonl.gz",
        f"s3://{BUCKET}/traces/b.jsonl",
    ]
    # Each holds three readable spans and five records that are not.
    assert [(item.rows_landed, item.rows_rejected) for item in landings if isinstance(item, Landing)] == [(3, 5)] * 2


@pytest.mark.parametrize(
    ("kind", "fixture", "options"),
    [
        ("langfuse_observations", "langfuse_observations/export.jsonl", {}),
        ("prometheus_gpus", "prometheus_gpus/query_range.json", {"deployment_label": "namespace"}),
        (
            "inventory_files",
            "inventory/instances.csv",
            {
                "format": "csv",
                "columns": {"deployment_id": "pool", "instance_id": "instance", "starts_at": "launched"},
                "constants": {"provider_name": "self_hosted", "model_id": "llama-3.3-70b-instruct"},
            },
        ),
    ],
)
def test_an_object_says_what_the_same_file_says(
    tmp_path: Path, store: Store, kind: str, fixture: str, options: dict[str, Any]
):
    store.put(fixture, (FIXTURES / fixture).read_bytes())
    file = pull(tmp_path / "file", kind, path=str(FIXTURES / fixture), **options).landing
    item = pull(tmp_path / "store", kind, path=f"s3://{BUCKET}/{fixture}", storage=store.storage, **options).landing
    assert item.input_uri == f"s3://{BUCKET}/{fixture}"
    assert file.rows_landed > 0
    assert (item.rows_landed, item.rows_rejected) == (file.rows_landed, file.rows_rejected)


def test_a_copy_does_not_stay(tmp_path: Path, store: Store):
    store.put("a.jsonl", TRACES)
    store.pull(tmp_path, f"s3://{BUCKET}/a.jsonl")
    assert list(LandingZone(tmp_path / "landing").fetched_dir.iterdir()) == []


def test_an_unchanged_object_is_not_copied_again(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch):
    store.put("a.jsonl", TRACES)
    store.put("b.jsonl", TRACES)
    first = store.pull(tmp_path, f"s3://{BUCKET}/*.jsonl")
    store.put("b.jsonl", TRACES + TRACES)
    copied: list[str] = []
    copy_to = _objects.StoredObject.copy_to

    def noted(item: _objects.StoredObject, path: Path) -> None:
        copied.append(item.url)
        copy_to(item, path)

    monkeypatch.setattr(_objects.StoredObject, "copy_to", noted)
    second = store.pull(tmp_path, f"s3://{BUCKET}/*.jsonl")
    assert copied == [f"s3://{BUCKET}/b.jsonl"]
    assert second.results[0] == first.results[0]
    # Twice the content: 2 x 3 spans.
    assert isinstance(second.results[1], Landing)
    assert (second.results[1].rows_landed, second.results[1].supersedes) == (6, first.results[1].landing_id)  # type: ignore[union-attr]


def test_an_object_that_is_replaced_while_it_is_copied_is_pulled_again(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
):
    store.put("a.jsonl", TRACES)
    listed = _objects.stored_objects

    def replaced(*place: Any) -> list[_objects.StoredObject]:  # noqa: ANN401 - the arguments of the function
        found = listed(*place)
        store.put("a.jsonl", TRACES + TRACES)
        return found

    monkeypatch.setattr("dagster_project.sources._files.stored_objects", replaced)
    failure = store.pull(tmp_path, f"s3://{BUCKET}/a.jsonl").failure
    assert failure.is_transient
    monkeypatch.undo()
    assert store.pull(tmp_path, f"s3://{BUCKET}/a.jsonl").landing.rows_landed == 6


def test_nothing_that_matches_is_permanent(tmp_path: Path, store: Store):
    failure = store.pull(tmp_path, f"s3://{BUCKET}/none/*.jsonl").failure
    assert not failure.is_transient
    assert f"s3://{BUCKET}/none/*.jsonl" in failure.message


def test_a_bucket_that_is_not_there_is_permanent(tmp_path: Path, store: Store):
    failure = store.pull(tmp_path, "s3://no-such-bucket/a.jsonl").failure
    assert not failure.is_transient


def test_a_store_that_does_not_answer_is_transient_and_shows_no_secret(tmp_path: Path, store: Store):
    failure = store.pull(
        tmp_path,
        f"s3://{BUCKET}/a.jsonl",
        client_kwargs={"endpoint_url": "http://127.0.0.1:9"},
        config_kwargs={"retries": {"max_attempts": 0}, "connect_timeout": 1},
    ).failure
    assert failure.is_transient
    assert "not-a-secret" not in failure.message


def test_missing_credentials_are_permanent_and_named(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    failure: SourceFailure = pull(
        tmp_path,
        "otlp_files",
        path=f"s3://{BUCKET}/*.jsonl",
        storage={"client_kwargs": {"endpoint_url": store.url}},
    ).failure
    assert not failure.is_transient
    assert "credentials" in failure.message


def _config(folder: Path, path: str) -> Path:
    file = folder / "company.yaml"
    file.write_text(
        "organization: A\nstart_date: 2026-07-01\nsources:\n"
        f'  - {{name: traces, kind: otlp_files, path: "{path}",\n'
        '     storage: {key: reader, secret: "${STORE_SECRET}"}}\n'
    )
    return file


def test_secrets_of_a_store_are_not_shown(tmp_path: Path):
    settings = load_settings(
        config_path=_config(tmp_path, "s3://bucket/*.jsonl"), state_dir=tmp_path, environ={"STORE_SECRET": "hush"}
    )
    assert "hush" not in repr(settings) + settings.model_dump_json()


@pytest.mark.parametrize("path", ["s4://bucket/a.jsonl", "https://bucket/a.jsonl", "s3://key:secret@bucket/a.jsonl"])
def test_a_url_of_no_store_is_refused(tmp_path: Path, path: str):
    with pytest.raises(ConfigurationError, match="'path': expected a path, or the URL of an object store"):
        load_settings(config_path=_config(tmp_path, path), state_dir=tmp_path, environ={"STORE_SECRET": "hush"})
