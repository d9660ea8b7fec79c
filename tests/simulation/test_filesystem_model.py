"""The modelled drive: each way in which it is nasty, and that what it calls sure survives every power cut."""

from __future__ import annotations

import errno
import random

import pytest

from plotfarm.base.disk_error import Call
from tests.simulation import people
from tests.simulation.filesystem import ZEROS, Drive, Handle, all_power_cuts
from tests.simulation.places import Alias, MountPoint, View
from tests.simulation.steps import Side, next_step

PLOT = (11, 12, 13, 14, 15, 16)


def fails(number: int) -> pytest.RaisesExc[OSError]:
    return pytest.RaisesExc(OSError, check=lambda error: error.errno == number)


def filled(drive: Drive, name: str = "a", direct: bool = True) -> Handle:
    handle = drive.create(name)
    for index, token in enumerate(PLOT):
        drive.write(handle, index, token, direct)
    return handle


def stored(drive: Drive, name: str = "a") -> Handle:
    handle = filled(drive, name)
    drive.fsync(handle)
    return handle


def contents(drive: Drive) -> dict[str, tuple[int, ...]]:
    return {name: inode.disk_content() for name, inode in drive.names.items()}


class TestNames:
    def test_lowest_inode_number_is_given_at_once(self) -> None:
        drive = Drive()
        first = drive.create("a")
        number = drive.fstat(first).inode
        drive.unlink("a")
        assert drive.fstat(drive.create("b")).inode != number
        drive.close(first)
        assert drive.fstat(drive.create("c")).inode == number

    def test_link_never_replaces(self) -> None:
        drive = Drive()
        handle = stored(drive)
        drive.create("b")
        with fails(errno.EEXIST):
            drive.link_open_file(handle, "b")
        with fails(errno.EEXIST):
            drive.rename_noreplace("a", "b")
        assert drive.fstat(handle).links == 1

    def test_file_without_a_name_cannot_be_linked(self) -> None:
        drive = Drive()
        handle = stored(drive)
        drive.unlink("a")
        with fails(errno.ENOENT):
            drive.link_open_file(handle, "b")

    def test_unlink_if_same(self) -> None:
        drive = Drive()
        handle = stored(drive)
        people.mv(drive, "a", "b")
        drive.create("a")
        assert not drive.unlink_if_same(handle, "a")
        assert drive.unlink_if_same(handle, "b")
        assert drive.list() == ["a"]

    def test_symbolic_link_is_not_followed(self) -> None:
        drive = Drive()
        stored(drive)
        drive.symlink("a", "s")
        with fails(errno.ELOOP):
            drive.open("s")
        assert drive.open("s", nofollow=False).inode is drive.names["a"]


class TestErrors:
    def test_write_back_error_is_told_once_to_each_open_file_and_the_cache_lies(self) -> None:
        drive = Drive()
        handle = stored(drive)
        other = drive.open("a")
        drive.fail_next(Call.WRITE_BACK, errno.EIO)
        drive.write(handle, 2, 99)
        with fails(errno.EIO):
            drive.fsync(handle)
        drive.fsync(handle)
        drive.fsync(drive.open("a"))
        with fails(errno.EIO):
            drive.fsync(other)
        assert drive.read(handle, 2) == 99
        assert drive.read(handle, 2, direct=True) == PLOT[2]

    def test_lost_block_blinds_the_search_for_holes_until_the_cache_is_dropped(self) -> None:
        drive = Drive()
        handle = drive.create("a")
        drive.write(handle, 0, 11)
        drive.write(handle, 1, 12)
        drive.fail_next(Call.WRITE_BACK, errno.EIO)
        with fails(errno.EIO):
            drive.write_back(handle)
        drive.fsync(handle)
        assert drive.seek_hole(handle) == 2
        drive.drop_caches()
        assert drive.seek_hole(handle) == 0
        assert handle.inode.durable_content() == (0, 12)

    def test_direct_write_fails_itself(self) -> None:
        drive = Drive()
        handle = drive.create("a")
        drive.fail_next(Call.WRITE, errno.EIO)
        with fails(errno.EIO):
            drive.write(handle, 0, 11, direct=True)
        drive.fsync(handle)
        assert drive.fstat(handle).size == 0

    def test_after_a_failed_fsync_the_next_one_lies(self) -> None:
        drive = Drive()
        handle = filled(drive)
        drive.fail_next(Call.FSYNC, errno.EIO)
        with fails(errno.EIO):
            drive.fsync(handle)
        drive.fsync(handle)
        drive.fsync_directory()
        assert drive.read(handle, 0, direct=True) == PLOT[0]
        assert not drive.is_sure("a", PLOT)
        drive.power_cut(0)
        assert contents(drive) == {"a": (0, 0, 0, 0, 0, 0)}

    @pytest.mark.parametrize("is_done", [False, True])
    def test_failed_link_may_have_been_made(self, is_done: bool) -> None:
        drive = Drive()
        handle = stored(drive)
        drive.fail_next(Call.LINK, errno.EIO, is_done)
        with fails(errno.EIO):
            drive.link_open_file(handle, "b")
        assert ("b" in drive.list()) is is_done

    def test_rot_is_seen_past_the_cache_only(self) -> None:
        drive = Drive()
        handle = stored(drive)
        assert drive.read(handle, 0) == PLOT[0]
        drive.flip(handle.inode, 0, 99)
        assert drive.read(handle, 0) == PLOT[0]
        assert drive.read(handle, 0, direct=True) == 99

    def test_read_only_drive_refuses_changes_of_open_files_too(self) -> None:
        drive = Drive()
        handle = filled(drive, direct=False)
        drive.remount_read_only()
        for change in (
            lambda: drive.write(handle, 0, 1, True),
            lambda: drive.truncate(handle, 0),
            lambda: drive.link_open_file(handle, "b"),
            lambda: drive.unlink("a"),
            lambda: drive.fsync(handle),
            lambda: drive.create("c"),
        ):
            with fails(errno.EROFS):
                change()


class TestRoom:
    def test_reserved_room_stays_and_is_given_back(self) -> None:
        drive = Drive(capacity=8)
        handle = drive.create("a")
        drive.fallocate(handle, 6)
        assert drive.free == 2
        other = filled_until_full(drive)
        with fails(errno.ENOSPC):
            drive.write(other, 5, 1)
        drive.write(handle, 0, 11, direct=True)
        drive.truncate(handle, 1)
        assert drive.free == 5
        drive.write(other, 5, 1)
        drive.unlink("a")
        assert drive.free == 4
        drive.close(handle)
        assert drive.free == 5

    def test_truncate_makes_holes_and_written_zeros_are_none(self) -> None:
        drive = Drive()
        handle = stored(drive)
        people.truncate(drive, "a", 0)
        with fails(errno.ENXIO):
            drive.seek_hole(handle)
        drive.write(handle, 3, 14, direct=True)
        people.dd(drive, "a", 0, ZEROS)
        assert drive.seek_hole(handle) == 1
        assert [drive.read(handle, index) for index in range(5)] == [0, 0, 0, 14, None]


def filled_until_full(drive: Drive) -> Handle:
    handle = drive.create("filler")
    for index in range(drive.free):
        drive.write(handle, index, 1)
    return handle


class TestPowerCuts:
    def test_any_subset_of_unsynced_names_is_left(self) -> None:
        drive = Drive()
        handle = stored(drive, "a.part")
        drive.link_open_file(handle, "a")
        drive.unlink("a.part")
        left = {tuple(cut.names) for cut in all_power_cuts(drive)}
        assert left == {(), ("a",), ("a.part",), ("a.part", "a")}
        drive.fsync_directory()
        assert [contents(cut) for cut in all_power_cuts(drive)] == [{"a": PLOT}]

    def test_any_subset_of_unsynced_blocks_is_left(self) -> None:
        drive = Drive()
        handle = stored(drive)
        drive.write(handle, 0, 1, direct=True)
        drive.write(handle, 1, 2)
        left = {contents(cut)["a"][:2] for cut in all_power_cuts(drive)}
        assert left == {(first, second) for first in (11, 0, 1) for second in (12, 0, 2)}

    def test_fsync_of_a_file_keeps_its_name(self) -> None:
        drive = Drive()
        stored(drive)
        drive.create("b")
        assert drive.is_sure("a", PLOT)
        drive.power_cut(0)
        assert contents(drive) == {"a": PLOT}

    def test_file_whose_number_was_given_away_is_not_beside_the_new_one(self) -> None:
        drive = Drive()
        drive.close(stored(drive))
        drive.unlink("a")
        stored(drive, "b")
        assert [contents(cut) for cut in all_power_cuts(drive)] == [{"b": PLOT}, {"b": PLOT}]

    def test_numbers_and_generators_choose_and_repeat(self) -> None:
        drive = Drive()
        filled(drive, direct=False)
        assert contents(drive.after_power_cut(0)) == {}
        assert contents(drive.after_power_cut(2**40 - 1)) == {"a": PLOT}
        once, again = (contents(drive.after_power_cut(random.Random(7))) for _ in range(2))
        assert once == again

    def test_a_copy_goes_its_own_way(self) -> None:
        drive = Drive()
        filled(drive)
        drive.fsync_directory()
        copy = drive.copy()
        people.truncate(drive, "a", 2)
        assert contents(copy) == {"a": PLOT}
        assert copy.free == copy.capacity - len(PLOT)
        assert sum(1 for _ in all_power_cuts(copy)) == 2 ** (len(PLOT) + len(("size", "times")))

    @pytest.mark.parametrize("seed", range(20))
    def test_what_is_sure_survives_every_power_cut(self, seed: int) -> None:
        rng = random.Random(seed)
        side = Side(Drive())
        drive = side.directory
        assert isinstance(drive, Drive)
        for _ in range(400):
            side.run(next_step(rng, side))
            check_books(drive, side)
            sure = {
                name: inode.cached_content()
                for name, inode in drive.names.items()
                if inode.target is None and drive.is_sure(name, inode.cached_content())
            }
            for _ in range(5):
                left = contents(drive.after_power_cut(rng))
                assert sure.items() <= left.items()


def check_books(drive: Drive, side: Side) -> None:
    handles = [handle for handle in side.files.values() if isinstance(handle, Handle)]
    inodes = {id(inode): inode for inode in [*drive.names.values(), *[handle.inode for handle in handles]]}
    assert {id(inode) for inode in drive.inodes.values()} == inodes.keys()
    assert drive.free == drive.capacity - sum(inode.allocated.bit_count() for inode in inodes.values())
    for inode in inodes.values():
        assert inode.links == list(drive.names.values()).count(inode)
        assert inode.holders == sum(handle.inode is inode for handle in handles)


class TestLocks:
    def test_belongs_to_the_open_file_and_ends_with_its_last_copy(self) -> None:
        drive = Drive()
        handle = drive.create("a")
        other = drive.open("a", is_writable=True)
        assert drive.lock(handle) and drive.lock(handle)
        assert not drive.lock(other)
        assert drive.is_locked(other) and not drive.is_locked(handle)
        drive.duplicate(handle)
        drive.close(handle)
        assert drive.is_locked(other)
        drive.close(handle)
        assert not drive.is_locked(other) and drive.lock(other)


class TestPlaces:
    def test_another_drive_with_the_same_numbers_appears_while_files_are_open(self) -> None:
        mount = MountPoint(Drive(device=7))
        drive = mount.drive
        handle = stored(drive, "a.part")
        before = mount.mount_id
        mount.unmount()
        assert not mount.is_mounted
        mount.mount(Drive(device=7, uuid="other"))
        other = mount.drive.create("a.part")
        assert mount.drive.fstat(other)[:2] == drive.fstat(handle)[:2]
        drive.link_open_file(handle, "a")
        assert mount.drive.list() == ["a.part"]
        assert drive.list() == ["a", "a.part"]
        assert mount.mount_id != before

    @pytest.mark.parametrize("alias", list(Alias))
    def test_time_set_through_an_alias_is_seen_on_the_drive(self, alias: Alias) -> None:
        drive = Drive()
        stored(drive)
        view = View(drive, alias)
        handle = view.open("a")
        view.set_mtime(handle, 12345)
        assert drive.stat("a").mtime == view.stat("a").mtime == 12345
        is_same = view.fstat(handle)[:2] == drive.stat("a")[:2]
        assert is_same is (alias is Alias.BIND)

    def test_link_counts_of_a_pool_are_old(self) -> None:
        drive = Drive()
        view = View(drive, Alias.POOL)
        handle = stored(drive)
        assert view.fstat(handle).links == 1
        drive.link_open_file(handle, "b")
        assert view.fstat(handle).links == 1

    def test_close_over_nfs_tells_what_nobody_told(self) -> None:
        drive = Drive()
        view = View(drive, Alias.NFS)
        handle = view.create("a")
        view.write(handle, 0, 11)
        drive.fail_next(Call.WRITE_BACK, errno.ENOSPC)
        with fails(errno.ENOSPC):
            view.close(handle)
        assert handle.copies == 0


def test_people_overwrite_in_place_when_they_copy() -> None:
    drive = Drive()
    stored(drive)
    target = drive.create("b")
    people.cp(drive, "a", "b")
    assert drive.names["b"] is target.inode
    assert target.inode.cached_content() == PLOT
    people.rm(drive, "a")
    assert drive.list() == ["b"]
