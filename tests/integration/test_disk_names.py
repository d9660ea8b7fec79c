"""The effects of a journey on names, on real file systems: cutting, removing, publishing, and what is stored."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from plotfarm.base.disk_error import Call, DiskError
from plotfarm.plots.parts import is_committed
from plotfarm.transfer import disk as disk_module
from plotfarm.transfer.effects import (
    AllocatePart,
    CommitPart,
    FirstHole,
    Fit,
    LinkPart,
    LookAtStored,
    Naming,
    OpenStored,
    ReadStored,
    RemovePart,
    RenamePart,
    StoredLook,
    SyncDirectory,
    SyncPart,
    SyncStored,
    TrimPart,
    TruncatePart,
    UnlinkPart,
)
from testbed.broken_drives import bind_by_fuse, unmount, why_no_fuse
from testbed.mounts import private_mounts
from tests.integration.held_disk import (
    CONTENT,
    MIB,
    PLOT,
    Held,
    create,
    expect_stopped,
    hashes,
    names,
    opened,
    replace,
    touch,
)

pytest_plugins = ["tests.integration.real_drives"]

# ---- Cutting and removing a part ----


def test_it_is_cut_to_whole_segments(disk: Held) -> None:
    path = create(disk)
    disk.carry_out(TruncatePart(2))
    assert path.read_bytes() == CONTENT[: 2 * MIB]


def test_room_behind_what_arrived_is_given_back(drive: Path) -> None:
    with opened(drive) as disk:
        path = create(disk, CONTENT[:MIB])
        disk.carry_out(AllocatePart(8 * MIB))
        reserved = path.stat().st_blocks
        assert disk.carry_out(TrimPart()) == MIB
        disk.carry_out(SyncPart())
        assert path.stat().st_blocks < reserved
        assert path.read_bytes() == CONTENT[:MIB]


def test_a_part_that_never_was_has_no_bytes(plain: Held) -> None:
    assert plain.carry_out(TrimPart()) == 0
    plain.carry_out(RemovePart())


@pytest.mark.parametrize("how", ["second name", "moved", "replaced", "removed"])
@pytest.mark.parametrize("effect", [TruncatePart(1), TrimPart(), CommitPart(), RenamePart(PLOT)])
def test_nothing_is_done_to_a_part_that_somebody_else_has_touched(plain: Held, effect: object, how: str) -> None:
    path = create(plain)
    touch(path, how)
    before = names(plain.place)
    expect_stopped(plain, effect)
    assert os.pread(plain.part, len(CONTENT) + 1, 0) == CONTENT
    assert not is_committed(plain.part)
    assert names(plain.place) == before


def test_a_part_is_removed(disk: Held) -> None:
    path = create(disk)
    disk.carry_out(RemovePart())
    assert not path.exists()
    disk.carry_out(RemovePart())


@pytest.mark.parametrize("how", ["second name", "replaced"])
def test_what_somebody_else_uses_is_not_removed(plain: Held, how: str) -> None:
    path = create(plain)
    touch(path, how)
    before = names(plain.place)
    plain.carry_out(RemovePart())
    plain_names = names(plain.place)
    assert plain_names == before


def test_that_both_ends_agreed_is_noted_in_the_part(disk: Held) -> None:
    create(disk)
    disk.carry_out(CommitPart())
    assert is_committed(disk.part)


# ---- The plot's own name ----


def test_publishing_leaves_one_name(disk: Held) -> None:
    create(disk)
    assert disk.carry_out(LinkPart(PLOT)) is Naming.NAMED
    disk.carry_out(UnlinkPart())
    disk.carry_out(SyncDirectory())
    assert names(disk.place) == {PLOT}
    assert (disk.place / PLOT).read_bytes() == CONTENT
    assert (disk.place / PLOT).stat().st_nlink == 1


@pytest.mark.parametrize("what", ["file", "link", "dead link", "directory"])
@pytest.mark.parametrize("effect", [LinkPart(PLOT), RenamePart(PLOT)])
def test_a_name_that_is_taken_is_never_replaced(plain: Held, effect: LinkPart | RenamePart, what: str) -> None:
    path = create(plain)
    taken = plain.place / PLOT
    match what:
        case "file":
            taken.write_bytes(b"somebody's")
        case "link":
            (plain.place / "other").write_bytes(b"somebody's")
            taken.symlink_to("other")
        case "dead link":
            taken.symlink_to("nowhere")
        case "directory":
            taken.mkdir()
    before = os.lstat(taken)
    assert plain.carry_out(effect) is Naming.TAKEN
    assert os.path.samestat(os.lstat(taken), before)
    assert path.read_bytes() == CONTENT


def test_the_open_file_is_published_and_not_what_has_its_name(disk: Held) -> None:
    path = create(disk)
    replace(path)
    assert disk.carry_out(LinkPart(PLOT)) is Naming.NAMED
    assert (disk.place / PLOT).read_bytes() == CONTENT
    disk.carry_out(UnlinkPart())
    assert path.read_bytes() == b"somebody's"


def test_a_part_that_somebody_removed_is_not_published(disk: Held) -> None:
    path = create(disk)
    path.unlink()
    expect_stopped(disk, LinkPart(PLOT))
    assert names(disk.place) == set()


def test_where_links_cannot_be_made_it_is_renamed(disk: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    create(disk)
    monkeypatch.setattr(disk_module.os, "link", refuse)
    assert disk.carry_out(LinkPart(PLOT)) is Naming.UNSUPPORTED
    assert disk.carry_out(RenamePart(PLOT)) is Naming.NAMED
    assert names(disk.place) == {PLOT}
    assert (disk.place / PLOT).read_bytes() == CONTENT


def test_a_rename_that_met_another_file_is_an_unknown_outcome(plain: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody puts another file in the part's place in the very moment before the rename."""
    path = create(plain)
    rename = disk_module.kernel.rename_without_replacing

    def replace_and_rename(directory: int, old: str, new: str) -> None:
        replace(path)
        rename(directory, old, new)

    monkeypatch.setattr(disk_module.kernel, "rename_without_replacing", replace_and_rename)
    with pytest.raises(DiskError) as caught:
        plain.carry_out(RenamePart(PLOT))
    assert caught.value.call is Call.RENAME


@pytest.mark.parametrize(
    ("effect", "function", "call"),
    [
        (SyncPart(), "fsync", Call.FSYNC),
        (SyncDirectory(), "fsync", Call.SYNC_DIRECTORY),
        (TruncatePart(1), "ftruncate", Call.TRUNCATE),
        (LinkPart(PLOT), "link", Call.LINK),
        (UnlinkPart(), "unlink", Call.UNLINK),
        (RemovePart(), "unlink", Call.UNLINK),
        (FirstHole(), "lseek", Call.SEEK),
    ],
)
def test_an_error_carries_its_call(
    plain: Held, monkeypatch: pytest.MonkeyPatch, effect: object, function: str, call: Call
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    create(plain)
    with monkeypatch.context() as patch:
        patch.setattr(disk_module.os, function, fail)
        with pytest.raises(DiskError) as caught:
            plain.carry_out(effect)  # type: ignore[arg-type]
    assert (caught.value.call, caught.value.number) == (call, errno.EIO)


# ---- A plot that is there ----


def test_a_stored_plot_is_read(disk: Held) -> None:
    (disk.place / PLOT).write_bytes(CONTENT)
    assert disk.carry_out(OpenStored(PLOT, len(CONTENT))) is Fit.SAME_SIZE
    disk.carry_out(SyncStored())
    assert disk.carry_out(ReadStored(len(CONTENT))) == hashes(CONTENT)


@pytest.mark.parametrize("what", ["other size", "link", "dead link", "directory", "pipe"])
def test_what_is_not_the_plot_is_another_file(plain: Held, what: str) -> None:
    path = plain.place / PLOT
    match what:
        case "other size":
            path.write_bytes(CONTENT[:-1])
        case "link":
            (plain.place / "other").write_bytes(CONTENT)
            path.symlink_to("other")
        case "dead link":
            path.symlink_to("nowhere")
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
    assert plain.carry_out(OpenStored(PLOT, len(CONTENT))) is Fit.OTHER
    assert plain.stored is None


def test_what_is_not_there_is_gone(plain: Held) -> None:
    assert plain.carry_out(OpenStored(PLOT, len(CONTENT))) is Fit.GONE


def test_a_time_set_by_another_path_is_seen(disk: Held) -> None:
    """That is how a plot directory that leads to the drive is known."""
    path = disk.place / PLOT
    path.write_bytes(CONTENT)
    os.link(path, disk.place / "another name")
    disk.carry_out(OpenStored(PLOT, len(CONTENT)))
    os.utime(disk.place / "another name", ns=(0, 1_234_567_890 * 10**9))
    assert disk.carry_out(LookAtStored(PLOT)) == StoredLook(len(CONTENT), 1_234_567_890 * 10**9)


@pytest.mark.root
def test_a_time_set_by_another_path_is_seen_where_times_are_remembered(tmp_path: Path) -> None:
    """FUSE and network file systems do that: for a second mostly, and here for ever."""
    if why := why_no_fuse("bindfs"):
        pytest.skip(why)
    behind, place = tmp_path / "behind", tmp_path / "place"
    behind.mkdir()
    (behind / PLOT).write_bytes(CONTENT)
    with private_mounts():
        bind_by_fuse(behind, place, "attr_timeout=3600,entry_timeout=3600")
        try:
            with opened(place) as disk:
                disk.carry_out(OpenStored(PLOT, len(CONTENT)))
                os.utime(behind / PLOT, ns=(0, 1_234_567_890 * 10**9))
                assert disk.carry_out(LookAtStored(PLOT)) == StoredLook(len(CONTENT), 1_234_567_890 * 10**9)
        finally:
            unmount(place)


@pytest.mark.parametrize("has_part", [False, True])
def test_another_file_than_was_stored_is_not_looked_at(plain: Held, has_part: bool) -> None:
    path = plain.place / PLOT
    if has_part:
        create(plain)
        plain.carry_out(LinkPart(PLOT))
        plain.carry_out(UnlinkPart())
    else:
        path.write_bytes(CONTENT)
        plain.carry_out(OpenStored(PLOT, len(CONTENT)))
    assert plain.carry_out(LookAtStored(PLOT)).size == len(CONTENT)
    replace(path)
    expect_stopped(plain, LookAtStored(PLOT))
    path.unlink()
    with pytest.raises(DiskError) as caught:
        plain.carry_out(LookAtStored(PLOT))
    assert (caught.value.call, caught.value.number) == (Call.OPEN, errno.ENOENT)
