"""The plot that is to be moved, on real files: which one it is, who else has it open, its time, and its removal."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from plotfarm.base.disk_error import Call
from plotfarm.base.errors import TransferFailed
from plotfarm.plots.identity import Change, FileIdentity
from plotfarm.transfer import source as source_module
from plotfarm.transfer.effects import (
    ChooseTime,
    ForgetTime,
    HashSource,
    Lease,
    LeaseHolds,
    LeaseSource,
    LookAtSource,
    RememberTime,
    SetSourceTime,
    SourceError,
    SourceLook,
    SyncSourceDirectory,
    UnlinkSource,
)
from plotfarm.transfer.hashing import SegmentHasher
from plotfarm.transfer.source import Source, TimeNotes, open_source, restore_time
from testbed.mounts import private_mounts, why_no_mounts

MIB = 2**20
SEGMENT_BYTES = MIB
CONTENT = os.urandom(2 * MIB + 77)
SECOND = 10**9
OLD = 1_700_000_000 * SECOND + 123_456_789


class Notes(TimeNotes):
    def __init__(self) -> None:
        self.said: list[tuple[Path, int, int] | Path] = []

    def remember(self, path: Path, old: int, new: int) -> None:
        self.said.append((path, old, new))

    def forget(self, path: Path) -> None:
        self.said.append(path)


@pytest.fixture
def plot(tmp_path: Path) -> Path:
    path = tmp_path / "plots" / "plot-k32-source.plot"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    os.utime(path, ns=(OLD, OLD))
    return path


@contextlib.contextmanager
def opened(plot: Path, notes: TimeNotes | None = None) -> Iterator[Source]:
    descriptor = open_source(plot, identity_of(plot))
    source = Source(descriptor, plot, SEGMENT_BYTES, notes or Notes())
    try:
        yield source
    finally:
        source.close()


@pytest.fixture
def source(plot: Path) -> Iterator[Source]:
    with opened(plot) as source:
        yield source


def identity_of(path: Path) -> FileIdentity:
    return FileIdentity.of(os.stat(path, follow_symlinks=False))


def look(source: Source) -> SourceLook:
    seen = source.carry_out(LookAtSource())
    assert isinstance(seen, SourceLook)
    return seen


def hashes(content: bytes) -> tuple[str, ...]:
    hasher = SegmentHasher(segment_bytes=SEGMENT_BYTES)
    hasher.update(memoryview(content))
    return hasher.finish()


# ---- Which file it is ----


def test_an_untouched_file_is_the_same(source: Source, plot: Path) -> None:
    assert look(source) == SourceLook(identity_of(plot), is_at_its_path=True, links=1)


def test_it_is_seen_when_it_is_written_to(source: Source, plot: Path) -> None:
    before = look(source).identity
    with open(plot, "r+b") as file:
        file.write(b"other")
    after = look(source)
    assert before.change_to(after.identity) is Change.CONTENT
    assert after.is_at_its_path


def test_it_is_seen_when_it_is_written_to_and_its_time_is_set_back(source: Source, plot: Path) -> None:
    before = look(source).identity
    with open(plot, "r+b") as file:
        file.write(b"other")
    os.utime(plot, ns=(OLD, OLD))
    assert before.change_to(look(source).identity) is Change.ONLY_CTIME


@pytest.mark.parametrize("how", ["removed", "renamed", "replaced", "a link to it"])
def test_it_is_seen_when_its_path_leads_elsewhere(source: Source, plot: Path, how: str) -> None:
    moved = plot.with_name("moved")
    if how == "removed":
        plot.unlink()
    else:
        plot.rename(moved)
    if how == "replaced":
        plot.write_bytes(CONTENT)
    if how == "a link to it":
        plot.symlink_to(moved)
    assert not look(source).is_at_its_path


def test_its_names_are_counted(source: Source, plot: Path) -> None:
    os.link(plot, plot.with_name("second"))
    assert look(source).links == 2
    os.unlink(plot)
    assert look(source).links == 1


def test_another_file_than_was_looked_at_is_not_opened(plot: Path) -> None:
    identity = identity_of(plot)
    plot.unlink()
    plot.write_bytes(CONTENT)
    with pytest.raises(TransferFailed, match="changed before it was sent"):
        open_source(plot, identity)


def test_a_link_is_not_followed(plot: Path) -> None:
    link = plot.with_name("plot-k32-link.plot")
    link.symlink_to(plot)
    with pytest.raises(TransferFailed, match="cannot be opened"):
        open_source(link, identity_of(plot))


@pytest.mark.root
def test_a_plot_on_an_overlay_is_refused_with_the_remedy(tmp_path: Path) -> None:
    if reason := why_no_mounts():
        pytest.skip(reason)
    with private_mounts():
        for name in ("memory", "merged"):
            (tmp_path / name).mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path / "memory"], check=True)
        lower, upper, work = (tmp_path / "memory" / name for name in ("lower", "upper", "work"))
        for directory in (lower, upper, work):
            directory.mkdir()
        (lower / "plot-k32-x.plot").write_bytes(b"plot")
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        done = subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", options, tmp_path / "merged"], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("this kernel mounts no overlay here")
        path = tmp_path / "merged" / "plot-k32-x.plot"
        with pytest.raises(TransferFailed, match=r"overlay file system.*name the directory where it really lies"):
            open_source(path, identity_of(path))


# ---- Reading it ----


def test_its_hashes(source: Source) -> None:
    assert source.carry_out(HashSource()) == hashes(CONTENT)
    assert source.carry_out(HashSource(1)) == hashes(CONTENT)[:1]
    assert source.carry_out(HashSource(0)) == ()


def test_a_read_error_is_the_sources_own(plot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with opened(plot) as source:
        monkeypatch.setattr(os, "preadv", fail)
        with pytest.raises(SourceError, match=r"plot-k32-source\.plot cannot be read: Input/output error") as caught:
            source.carry_out(HashSource())
    assert (caught.value.call, caught.value.number) == (Call.READ, errno.EIO)


# ---- Who else has it open ----


def test_a_writer_is_seen(source: Source, plot: Path) -> None:
    with open(plot, "r+b"):
        assert source.carry_out(LeaseSource()) is Lease.WRITER
    assert source.carry_out(LeaseSource()) is Lease.HELD
    assert source.carry_out(LeaseHolds())


def test_a_reader_disturbs_nobody(source: Source, plot: Path) -> None:
    with open(plot, "rb"):
        assert source.carry_out(LeaseSource()) is Lease.HELD
    plot.read_bytes()
    assert source.carry_out(LeaseHolds())


OPENER = """
import os, sys
try:
    os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK)
except BlockingIOError:
    sys.exit(0)
sys.exit(1)
"""


def test_who_asks_to_write_has_to_wait_and_is_seen(source: Source, plot: Path) -> None:
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        assert source.carry_out(LeaseSource()) is Lease.HELD
        subprocess.run([sys.executable, "-c", OPENER, plot], check=True)
        assert not source.carry_out(LeaseHolds())
    finally:
        signal.signal(signal.SIGIO, before)


def test_where_there_are_no_leases_nothing_is_refused(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(source_module.fcntl, "fcntl", refuse)
    assert source.carry_out(LeaseSource()) is Lease.UNSUPPORTED
    assert source.carry_out(LeaseHolds())


# ---- Its time ----


def test_a_chosen_time_is_in_whole_seconds_and_never_the_old_one(source: Source) -> None:
    """File systems of pools and networks round; nobody's plot is from then."""
    chosen = [source.carry_out(ChooseTime(but=OLD)) for _ in range(200)]
    assert all(time % SECOND == 0 and 10**18 <= time < 1_500_000_000 * SECOND for time in chosen)
    assert len(set(chosen)) == 200


def test_a_time_is_set_by_the_path_and_seen_in_the_file(source: Source, plot: Path) -> None:
    before = os.stat(plot)
    source.carry_out(SetSourceTime(10**18))
    after = os.stat(plot)
    assert (after.st_mtime_ns, after.st_atime_ns) == (10**18, before.st_atime_ns)
    assert look(source).identity.mtime_ns == 10**18


def test_a_link_in_its_place_is_not_followed(source: Source, plot: Path) -> None:
    other = plot.with_name("other")
    other.write_bytes(b"other")
    os.utime(other, ns=(OLD, OLD))
    plot.unlink()
    plot.symlink_to(other)
    source.carry_out(SetSourceTime(10**18))
    assert other.stat().st_mtime_ns == OLD


def test_a_time_that_cannot_be_set_is_an_error_of_that_call(source: Source, plot: Path) -> None:
    plot.unlink()
    with pytest.raises(SourceError) as caught:
        source.carry_out(SetSourceTime(10**18))
    assert (caught.value.call, caught.value.number) == (Call.SET_TIME, errno.ENOENT)


def test_a_changed_time_is_noted_under_the_sources_path(plot: Path) -> None:
    notes = Notes()
    with opened(plot, notes) as source:
        source.carry_out(RememberTime(OLD, 10**18))
        source.carry_out(ForgetTime())
    assert notes.said == [(plot, OLD, 10**18), plot]


def test_a_time_that_a_dead_run_left_is_restored(plot: Path) -> None:
    os.utime(plot, ns=(OLD, 10**18))
    restore_time(plot, OLD, 10**18)
    assert plot.stat().st_mtime_ns == OLD


def test_a_time_that_somebody_else_set_stays(plot: Path) -> None:
    os.utime(plot, ns=(OLD, 42 * SECOND))
    restore_time(plot, OLD, 10**18)
    assert plot.stat().st_mtime_ns == 42 * SECOND


def test_a_source_that_is_gone_needs_no_time(plot: Path) -> None:
    plot.unlink()
    restore_time(plot, OLD, 10**18)
    assert not plot.exists()


# ---- Its removal ----


def test_the_expected_file_is_removed(source: Source, plot: Path) -> None:
    assert source.carry_out(UnlinkSource(look(source).identity)) is True
    source.carry_out(SyncSourceDirectory())
    assert not plot.exists()
    assert look(source).links == 0


@pytest.mark.parametrize("how", ["another time", "another size", "another file", "gone"])
def test_any_other_file_stays(source: Source, plot: Path, how: str) -> None:
    expected = look(source).identity
    match how:
        case "another time":
            os.utime(plot, ns=(OLD, 10**18))
        case "another size":
            os.truncate(plot, 5)
        case "another file":
            plot.rename(plot.with_name("moved"))
            plot.write_bytes(CONTENT)
            os.utime(plot, ns=(OLD, OLD))
        case "gone":
            plot.rename(plot.with_name("moved"))
    before = sorted(path.name for path in plot.parent.iterdir())
    assert source.carry_out(UnlinkSource(expected)) is False
    assert sorted(path.name for path in plot.parent.iterdir()) == before


def test_another_number_of_file_or_device_is_another_file(source: Source, plot: Path) -> None:
    expected = look(source).identity
    for wrong in (replace(expected, inode=expected.inode + 1), replace(expected, device=expected.device + 1)):
        assert source.carry_out(UnlinkSource(wrong)) is False
    assert plot.exists()


def test_a_directory_that_was_moved_is_still_the_one_that_is_held(source: Source, plot: Path) -> None:
    """Somebody renames the plot directory and makes another one: nothing there is touched."""
    expected = look(source).identity
    moved = plot.parent.with_name("moved")
    plot.parent.rename(moved)
    plot.parent.mkdir()
    plot.write_bytes(b"another")
    assert source.carry_out(UnlinkSource(expected)) is True
    assert plot.read_bytes() == b"another"
    assert not (moved / plot.name).exists()
