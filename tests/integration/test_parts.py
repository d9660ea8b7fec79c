"""Parts on real file systems: the facts that they carry, who holds them, and what may be removed."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plotfarm.base.disk_error import Call, DiskError
from plotfarm.plots import parts
from plotfarm.plots.parts import (
    FoundPart,
    PartFacts,
    is_committed,
    is_locked,
    list_parts,
    lock_part,
    mark_committed,
    part_name,
    read_facts,
    remove_dead_part,
    write_facts,
)
from testbed.plots import CHECKOUT

pytest_plugins = ["tests.integration.real_drives"]

PLOT = "plot-k32-here.plot"
ARRIVAL = "00000000000000ab"
NAME = part_name(PLOT, ARRIVAL)
FACTS = PartFacts("chiaplot01", 108_995_911_228, "ab" * 32)


def make_part(place: Path, name: str = NAME, facts: PartFacts | None = FACTS, content: bytes = b"bytes") -> Path:
    path = place / name
    path.write_bytes(content)
    if facts is not None:
        with open(path, "r+b") as file:
            write_facts(file.fileno(), facts)
    return path


@contextlib.contextmanager
def opened(path: Path, flags: int = os.O_RDWR) -> Iterator[int]:
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def listed(place: Path) -> list[FoundPart]:
    with opened(place, os.O_RDONLY | os.O_DIRECTORY) as directory:
        return list(list_parts(directory))


def removed(place: Path, name: str = NAME) -> bool:
    with opened(place, os.O_RDONLY | os.O_DIRECTORY) as directory:
        return remove_dead_part(directory, name)


# ---- What a part says of itself ----


def test_facts_come_back(place: Path) -> None:
    path = make_part(place)
    (found,) = listed(place)
    status = path.stat()
    assert found == FoundPart(
        name=NAME,
        plot=PLOT,
        arrival=ARRIVAL,
        facts=FACTS,
        size=5,
        allocated_bytes=status.st_blocks * 512,
        inode=status.st_ino,
        links=1,
        is_alive=False,
        is_committed=False,
    )


def test_both_ends_agreed(place: Path) -> None:
    with opened(make_part(place)) as descriptor:
        assert not is_committed(descriptor)
        mark_committed(descriptor)
        assert is_committed(descriptor)
    assert [part.is_committed for part in listed(place)] == [True]


@pytest.mark.parametrize("name", ["plotter", "size", "plot_id"])
def test_facts_that_lack_one_are_none(tmp_path: Path, name: str) -> None:
    path = make_part(tmp_path)
    os.removexattr(path, f"user.plotfarm.{name}")
    assert [part.facts for part in listed(tmp_path)] == [None]


@pytest.mark.parametrize("value", [b"", b"many", b"\xff\xfe", b"1e9"])
def test_facts_that_make_no_sense_are_none(tmp_path: Path, value: bytes) -> None:
    path = make_part(tmp_path)
    os.setxattr(path, "user.plotfarm.size", value)
    assert [part.facts for part in listed(tmp_path)] == [None]


def test_where_a_file_system_keeps_no_attributes_a_part_has_no_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    path = make_part(tmp_path, facts=None)
    monkeypatch.setattr(parts.os, "setxattr", refuse)
    with opened(path) as descriptor:
        assert not write_facts(descriptor, FACTS)
        mark_committed(descriptor)
        assert read_facts(descriptor) is None
        assert not is_committed(descriptor)


def test_an_attribute_that_cannot_be_written_for_another_reason_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(parts.os, "setxattr", fail)
    with opened(make_part(tmp_path, facts=None)) as descriptor:
        with pytest.raises(DiskError) as written:
            write_facts(descriptor, FACTS)
        with pytest.raises(DiskError) as marked:
            mark_committed(descriptor)
    assert (written.value.call, written.value.number) == (Call.XATTR, errno.ENOSPC)
    assert marked.value.call is Call.XATTR


# ---- Who holds it ----


def test_it_is_alive_while_somebody_holds_it(place: Path) -> None:
    path = make_part(place)
    with opened(path) as holder:
        assert lock_part(holder)
        assert lock_part(holder), "it is the same open file"
        assert not is_locked(holder), "one's own lock is no other's"
        with opened(path) as second:
            assert is_locked(second)
            assert not lock_part(second)
        assert [part.is_alive for part in listed(place)] == [True]
        assert not removed(place)
    assert [part.is_alive for part in listed(place)] == [False]
    assert removed(place)
    assert not path.exists()


def test_looking_takes_nothing_from_anybody(tmp_path: Path) -> None:
    """Unlike a lock of the process, this one stays when another descriptor of the file is closed."""
    path = make_part(tmp_path)
    with opened(path) as holder:
        assert lock_part(holder)
        for _ in range(3):
            assert [part.is_alive for part in listed(tmp_path)] == [True]


WRITER = """
import os, sys
from plotfarm.plots.parts import lock_part
descriptor = os.open(sys.argv[1], os.O_RDWR)
assert lock_part(descriptor)
child = os.fork()
if child == 0:
    sys.stdin.read()
    os._exit(0)
print(child, flush=True)
sys.stdin.read()
"""


def test_a_writer_that_is_left_behind_keeps_it(tmp_path: Path) -> None:
    """The forked child works on the drive: with its parent killed, what it writes to is not free."""
    path = make_part(tmp_path)
    parent = subprocess.Popen(
        [sys.executable, "-c", WRITER, path], cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    child = int(parent.stdout.readline())
    ended = os.pidfd_open(child)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    try:
        assert [part.is_alive for part in listed(tmp_path)] == [True]
        assert not removed(tmp_path)
    finally:
        parent.stdin.close()  # the child reads from it too: now it ends
        parent.stdout.read()
        os.close(ended)
    assert [part.is_alive for part in listed(tmp_path)] == [False]
    assert removed(tmp_path)


# ---- What is found, and what is not ----


def test_foreign_files_are_not_found(tmp_path: Path) -> None:
    make_part(tmp_path)
    (tmp_path / f"{PLOT}.part").write_bytes(b"a browser's")
    (tmp_path / PLOT).write_bytes(b"a plot")
    (tmp_path / part_name(PLOT, "00000000000000ac")).mkdir()
    (tmp_path / part_name(PLOT, "00000000000000ad")).symlink_to(NAME)
    os.mkfifo(tmp_path / part_name(PLOT, "00000000000000ae"))
    assert [part.name for part in listed(tmp_path)] == [NAME]


def test_a_part_without_facts_is_found_but_belongs_to_nobody(tmp_path: Path) -> None:
    make_part(tmp_path, facts=None)
    assert [part.facts for part in listed(tmp_path)] == [None]


def test_names_that_came_after_the_directory_was_opened_are_found(place: Path) -> None:
    with opened(place, os.O_RDONLY | os.O_DIRECTORY) as directory:
        assert list(list_parts(directory)) == []
        make_part(place)
        assert [part.name for part in list_parts(directory)] == [NAME]
        os.unlink(place / NAME)
        assert list(list_parts(directory)) == []


# ---- What may be removed ----


def test_what_is_gone_is_removed(tmp_path: Path) -> None:
    assert removed(tmp_path)


def test_only_the_file_that_was_locked_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody moves the part away and puts another one in its place, just before it would be removed."""
    path = make_part(tmp_path)

    def lock_and_replace(descriptor: int) -> bool:
        path.rename(tmp_path / "moved")
        make_part(tmp_path, content=b"another one")
        return lock_part(descriptor)

    monkeypatch.setattr(parts, "lock_part", lock_and_replace)
    assert not removed(tmp_path)
    assert path.read_bytes() == b"another one"


def test_the_target_of_a_link_is_not_removed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"somebody's")
    (tmp_path / NAME).symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        removed(tmp_path)
    assert target.read_bytes() == b"somebody's"
