"""The effects of a journey on a part, on real file systems, also where others had their hands on it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from plotfarm.base.disk_error import Call, DiskError
from plotfarm.base.errors import PlotfarmError
from plotfarm.plots.parts import PartFacts, is_locked, read_facts
from plotfarm.transfer.disk import Disk, Site
from plotfarm.transfer.effects import (
    AllocatePart,
    CheckSamples,
    FirstHole,
    IsMounted,
    OpenDrive,
    ReadPart,
    Stopped,
    SyncPart,
)
from plotfarm.transfer.outcomes import Failure
from plotfarm.transfer.samples import Sampler
from tests.integration.held_disk import (
    CONTENT,
    CREATE,
    FACTS,
    MIB,
    OPEN,
    PART,
    SEGMENT_BYTES,
    Held,
    create,
    hashes,
    leave_part,
    names,
    opened,
)

pytest_plugins = ["tests.integration.real_drives"]

# ---- The drive ----


def test_a_drive_that_is_not_there_is_unmounted(tmp_path: Path) -> None:
    def open_directory() -> int:
        raise PlotfarmError("/mnt/drive1: not mounted")

    disk = Disk(Site("/mnt/drive1", open_directory, lambda directory: True), SEGMENT_BYTES, lambda done: None)
    with pytest.raises(Stopped, match="not mounted") as caught:
        disk.carry_out(OpenDrive())
    assert caught.value.failure is Failure.UNMOUNTED


def test_it_is_seen_when_the_path_leads_elsewhere(plain: Held) -> None:
    assert plain.carry_out(IsMounted())
    plain.place.rename(plain.place.with_name("moved"))
    assert not plain.carry_out(IsMounted())
    plain.place.mkdir()
    assert not plain.carry_out(IsMounted())


# ---- A new part ----


def test_a_new_part_is_locked_and_carries_its_facts(disk: Held) -> None:
    path = create(disk)
    assert read_facts(disk.part) == FACTS
    with open(path, "rb") as other:
        assert is_locked(other.fileno())


def test_a_new_part_can_be_read_by_a_harvester_of_another_user(plain: Held) -> None:
    before = os.umask(0o077)
    try:
        path = create(plain)
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("what", ["file", "link"])
def test_a_new_part_replaces_nothing_and_follows_no_link(plain: Held, what: str) -> None:
    target = plain.place / "target"
    target.write_bytes(b"somebody's")
    path = plain.place / PART
    path.symlink_to(target) if what == "link" else path.write_bytes(b"somebody's")
    with pytest.raises(DiskError) as caught:
        plain.carry_out(CREATE)
    assert (caught.value.call, caught.value.number) == (Call.CREATE, errno.EEXIST)
    assert target.read_bytes() == path.read_bytes() == b"somebody's"


def test_room_is_reserved_and_the_size_stays_what_arrived(disk: Held) -> None:
    path = create(disk, CONTENT[:MIB])
    disk.carry_out(AllocatePart(4 * MIB))
    assert path.stat().st_size == MIB
    if disk.is_allocated:
        assert path.stat().st_blocks * 512 >= 4 * MIB


def test_drives_reserve_room(drive: Path) -> None:
    with opened(drive) as disk:
        create(disk, b"")
        disk.carry_out(AllocatePart(4 * MIB))
        assert disk.is_allocated


def test_a_drive_without_the_room_is_full(drive: Path) -> None:
    with opened(drive) as disk:
        create(disk, b"")
        with pytest.raises(DiskError) as caught:
            disk.carry_out(AllocatePart(2**30))
    assert (caught.value.call, caught.value.number) == (Call.ALLOCATE, errno.ENOSPC)


# ---- A part that was left ----


def test_a_part_that_was_left_is_opened_and_locked(disk: Held) -> None:
    path = leave_part(disk.place)
    assert disk.carry_out(OPEN) is True
    with open(path, "rb") as other:
        assert is_locked(other.fileno())
        assert os.path.samestat(os.fstat(other.fileno()), os.fstat(disk.part))


def test_nobody_gets_a_part_that_is_held(plain: Held) -> None:
    leave_part(plain.place)
    with opened(plain.place) as other:
        assert other.carry_out(OPEN) is True
        assert plain.carry_out(OPEN) is False
    assert plain.carry_out(OPEN) is True


@pytest.mark.parametrize(
    "facts",
    [
        PartFacts("chiaplot02", FACTS.size, FACTS.plot_id),
        PartFacts(FACTS.plotter, FACTS.size + 1, FACTS.plot_id),
        PartFacts(FACTS.plotter, FACTS.size, "cd" * 32),
    ],
)
def test_a_part_of_another_plot_or_plotter_is_not_opened(plain: Held, facts: PartFacts) -> None:
    leave_part(plain.place, facts=facts)
    assert plain.carry_out(OPEN) is False


@pytest.mark.parametrize("what", ["nothing", "link", "second name", "pipe", "directory", "no facts"])
def test_what_is_no_part_is_not_opened(plain: Held, what: str) -> None:
    path = leave_part(plain.place)
    match what:
        case "nothing":
            path.unlink()
        case "link":
            path.rename(path.with_name("moved"))
            path.symlink_to("moved")
        case "second name":
            os.link(path, path.with_name("second"))
        case "pipe":
            path.unlink()
            os.mkfifo(path)
        case "directory":
            path.unlink()
            path.mkdir()
        case "no facts":
            os.removexattr(path, "user.plotfarm.size")
    before = names(plain.place)
    assert plain.carry_out(OPEN) is False
    assert names(plain.place) == before


# ---- What a part holds ----


def test_whole_segments_are_read_and_all_of_it_where_that_is_asked(disk: Held) -> None:
    create(disk)
    assert disk.carry_out(ReadPart()) == hashes(CONTENT)[:3]
    assert disk.carry_out(ReadPart(len(CONTENT))) == hashes(CONTENT)


def test_less_than_a_segment_is_nothing(disk: Held) -> None:
    create(disk, CONTENT[: MIB - 1])
    assert disk.carry_out(ReadPart()) == ()


def test_what_is_read_is_what_is_there_now(disk: Held) -> None:
    path = create(disk)
    with open(path, "r+b") as file:
        file.seek(MIB + 5)
        file.write(b"somebody was here")
        file.flush()
        os.fsync(file.fileno())
    read = disk.carry_out(ReadPart(len(CONTENT)))
    differs = [own != other for own, other in zip(hashes(CONTENT), read, strict=True)]
    assert differs == [False, True, False, False]


def test_a_part_that_is_shorter_than_was_asked_for_cannot_be_read(disk: Held) -> None:
    path = create(disk)
    os.truncate(path, 2 * MIB)
    with pytest.raises(DiskError) as caught:
        disk.carry_out(ReadPart(len(CONTENT)))
    assert caught.value.call is Call.READ


def test_a_whole_part_has_no_hole(disk: Held) -> None:
    create(disk)
    assert disk.carry_out(FirstHole()) == len(CONTENT)


def test_a_hole_is_found(disk: Held) -> None:
    disk.carry_out(CREATE)
    os.pwrite(disk.part, CONTENT[:MIB], 0)
    os.pwrite(disk.part, CONTENT[2 * MIB :], 2 * MIB)
    disk.carry_out(SyncPart())
    assert disk.carry_out(FirstHole()) == MIB


@pytest.mark.parametrize("size", [0, MIB])
def test_a_part_that_was_cut_ends_too_early(disk: Held, size: int) -> None:
    path = create(disk)
    os.truncate(path, size)
    assert disk.carry_out(FirstHole()) == size


def test_a_part_that_was_cut_and_grew_again_has_a_hole(disk: Held) -> None:
    path = create(disk)
    os.truncate(path, MIB)
    os.truncate(path, len(CONTENT))
    assert disk.carry_out(FirstHole()) == MIB


def test_reserved_room_where_nothing_was_written_is_a_hole(drive: Path) -> None:
    with opened(drive) as disk:
        disk.carry_out(CREATE)
        disk.carry_out(AllocatePart(len(CONTENT)))
        os.pwrite(disk.part, CONTENT[2 * MIB :], 2 * MIB)
        disk.carry_out(SyncPart())
        assert disk.carry_out(FirstHole()) == 0


def test_samples_tell_whether_the_bytes_are_those_that_arrived(disk: Held) -> None:
    path = create(disk)
    sampler = Sampler(0, len(CONTENT))
    sampler.feed(0, memoryview(CONTENT))
    disk.samples = sampler.samples
    assert disk.carry_out(CheckSamples())

    place = disk.samples[-1].offset
    with open(path, "r+b") as file:
        file.seek(place)
        file.write(bytes(byte ^ 1 for byte in CONTENT[place : place + 1]))
        file.flush()
        os.fsync(file.fileno())
    assert not disk.carry_out(CheckSamples())
