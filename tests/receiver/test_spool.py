"""The spool: what an append returned for is in a published file once, whatever fails or is killed."""

import errno
import os
from pathlib import Path

import pytest
import zstandard

from dagster_project.receiver._spool import FullSpoolError, Spool
from dagster_project.sources._files import text_lines


def _frame(text: str) -> bytes:
    return zstandard.compress(text.encode() + b"\n")


def _lines(folder: Path) -> list[str]:
    """The lines of the published files, as a source's reader sees them."""
    return [
        line.decode()
        for path in sorted(folder.glob("*.jsonl.zst"))
        for line, _ in text_lines(path, path.name, limit_bytes=1_000)
    ]


class Clock:
    """A clock that a test sets."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def _spool(folder: Path, clock: Clock | None = None, **limits: float) -> Spool:
    spool = Spool(
        folder,
        file_bytes=int(limits.get("file_bytes", 1_000_000)),
        file_seconds=limits.get("file_seconds", 60),
        min_free_bytes=int(limits.get("min_free_bytes", 0)),
        clock=clock or Clock(),
    )
    spool.recover()
    return spool


def test_appends_become_one_file_when_it_is_published(tmp_path: Path):
    spool = _spool(tmp_path)
    spool.append([_frame("a"), _frame("b")])
    spool.append([_frame("c")])
    assert _lines(tmp_path) == []
    spool.publish()
    assert _lines(tmp_path) == ["a", "b", "c"]
    assert len(list(tmp_path.glob("*.jsonl.zst"))) == 1


def test_a_file_is_due_by_age_or_by_size(tmp_path: Path):
    clock = Clock()
    spool = _spool(tmp_path, clock, file_seconds=60, file_bytes=2 * len(_frame("a")))
    assert spool.seconds_until_due() is None
    spool.append([_frame("a")])
    clock.seconds = 25
    # 60 - 25 = 35 seconds are left.
    assert spool.seconds_until_due() == 35
    spool.append([_frame("b")])
    assert spool.seconds_until_due() == 0


@pytest.mark.parametrize("lost_bytes", [1, 5, 12])
def test_a_frame_that_was_cut_off_is_set_aside(tmp_path: Path, lost_bytes: int):
    killed = _spool(tmp_path)
    killed.append([_frame("kept")])
    killed.append([_frame("cut off")])
    [left] = tmp_path.glob(".*.open")
    os.truncate(left, left.stat().st_size - lost_bytes)
    assert len(_spool(tmp_path).recover()) == 0
    assert _lines(tmp_path) == ["kept"]
    [rest] = tmp_path.glob(".*.rest")
    assert rest.read_bytes() == _frame("cut off")[:-lost_bytes]


def test_a_file_without_a_whole_frame_is_not_published(tmp_path: Path):
    killed = _spool(tmp_path)
    killed.append([_frame("cut off")])
    [left] = tmp_path.glob(".*.open")
    os.truncate(left, 3)
    _spool(tmp_path)
    assert list(tmp_path.glob("*.jsonl.zst")) == []
    assert list(tmp_path.glob(".*.open")) == []


def test_what_a_failed_append_wrote_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spool = _spool(tmp_path)
    spool.append([_frame("before")])
    write = os.write

    def half(descriptor: int, content: bytes) -> int:
        write(descriptor, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space left"):
        spool.append([_frame("failed")])
    monkeypatch.undo()
    spool.append([_frame("after")])
    spool.publish()
    assert sorted(_lines(tmp_path)) == ["after", "before"]


def test_a_write_that_the_system_splits_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:3]))
    spool = _spool(tmp_path)
    spool.append([_frame("whole")])
    monkeypatch.undo()
    spool.publish()
    assert _lines(tmp_path) == ["whole"]


def test_the_disk_is_not_filled_up(tmp_path: Path):
    with pytest.raises(FullSpoolError):
        _spool(tmp_path, min_free_bytes=2**62).append([_frame("a")])
