"""Counting the plot files on a drive, by what their headers say.

A header is read once. From then on the file is known by a number, made of its path below the mountpoint, its
size and its time, and so is what its header said.

A directory is not gone through again while its inode, its times and the number of its entries are what they were:
whatever adds, removes or renames a file changes its ctime, which no user can set. That is believed only of a directory
that had been left alone for some seconds when it was gone through, since a clock has ticks, and in which no plot had
been written for some minutes. What it cannot show is a file that is written in its place: its size and header are
those of the last time, until the directory is gone through again, within a day. Nothing but the numbers in reports
depends on that: where a plot goes, and whether it is there, is asked of the drive each time.

Everything here touches the drive and may block for ever: it is called in the probe's helper.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import stat
import time
import zlib
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from hashlib import blake2b

from plotfarm.drives.counted import Count, CountedDirectory, Headers
from plotfarm.drives.effort import Effort
from plotfarm.drives.mount_table import mount_id_of
from plotfarm.plots.formats import PlotFormat, of_code, of_suffix, read_header
from plotfarm.plots.names import is_plot_name

DEEPEST = 4  # directories below the mountpoint
_START_BYTES = 4096  # kind, k and group size stand in the first 60; reading more would push plots out of memory
_REPORT_SECONDS = 5.0  # so much work at most is lost if the drive falls silent while headers are read
_SKIPPED = ("lost+found", "$RECYCLE.BIN")
_LEFT_ALONE_SECONDS = 5.0  # the times of a file system may be as coarse as 2 s
_WRITTEN_SECONDS = 600.0  # a plot that was written so lately may be written yet
_LONGEST_BELIEF_SECONDS = 86400.0

# What a header said is one number, code of the format | k << 4 | group size << 12. It is kept in the database: this
# never changes.
_UNREADABLE = 15  # in place of the code: the drive has an error there, and is not asked again
_K_IN_NAME = re.compile(r"(?:^|[-.])k(1[89]|[234]\d|50)(?=[-.])")


def count_plots(
    root: int, mountpoint: str, known: Mapping[str, CountedDirectory], elsewhere: Collection[str], effort: Effort
) -> Iterator[CountedDirectory | Count]:
    """Yield each directory under an open one that was gone through, and counts of all of them.

    A later one replaces an earlier one of the same path, a later count the one before. Files are counted by their names
    at first, then the headers are read that are not `known` (by path below the mountpoint). `elsewhere`: paths of other
    mounts and drives, which are not entered. OutOfTimeError when the effort has taken its time, and OSError for what a
    drive does.
    """
    found: dict[str, CountedDirectory] = {}
    todo = deque([""])
    while todo:
        path = todo.popleft()
        with _opened_below(root, path) as directory:
            if directory is None:
                continue
            before = known.get(path)
            now = _look(directory, path, before, effort)
        found[path] = now
        if _is_news(now, before):
            yield now
        below = (os.path.join(path, name) for name in now.below)
        todo += [place for place in below if f"{mountpoint}/{place}" not in elsewhere]

    yield _count(found, known)
    for path in random.sample(sorted(found), len(found)):
        if found[path].unread:
            for now in _with_headers(root, found[path], effort):
                found[path] = now
                yield now
                yield _count(found, known)


def _count(found: Mapping[str, CountedDirectory], known: Collection[str]) -> Count:
    counts: Counter[tuple[PlotFormat, int]] = Counter()
    plots = 0
    for directory in found.values():
        for said, files in directory.tally.items():
            counts[of_code(said & 15), said >> 4 & 255] += files
            plots += files * max(1, said >> 12)
    return Count(
        counts=tuple((kind, k, files) for (kind, k), files in sorted(counts.items()) if files),
        plots=plots,
        plot_bytes=sum(directory.plot_bytes for directory in found.values()),
        headers_missing=sum(directory.by_name for directory in found.values()),
        gone=tuple(path for path in known if path not in found),
    )


# ---- One directory ----------------------------------------------------------------------------------


def _look(directory: int, path: str, before: CountedDirectory | None, effort: Effort) -> CountedDirectory:
    """Return what is in a directory: what was known of it if nothing has changed, or else what is found there now."""
    now = time.time()
    status = os.fstat(directory)
    effort.step()
    entries = len(os.listdir(directory))
    signature = f"{status.st_ino}:{status.st_mtime_ns}:{status.st_ctime_ns}:{entries}"
    if before is not None and before.signature == signature and _is_fresh(before, now):
        effort.files += before.files
        return before

    found = _go_through(directory, path, Headers(before.headers if before is not None else b""), effort)
    changed = max(status.st_mtime_ns, status.st_ctime_ns) / 1e9
    is_believable = changed < now - _LEFT_ALONE_SECONDS and found.written < now - _WRITTEN_SECONDS
    return CountedDirectory(
        path=path,
        signature=signature if is_believable and entries == found.entries else "",
        gone_through=now,
        tally=dict(found.tally),
        plot_bytes=found.bytes,
        by_name=found.by_name,
        unread=found.unread,
        below=tuple(found.below),
        headers=found.headers.packed(),
    )


def _is_news(now: CountedDirectory, before: CountedDirectory | None) -> bool:
    """Tell whether there is anything to be remembered: that one which is not believed was gone through again is not."""
    if before is None or now.signature:
        return now is not before
    return now != replace(before, gone_through=now.gone_through)


def _is_fresh(before: CountedDirectory, now: float) -> bool:
    """Tell whether a directory was gone through so lately that it need not be again; not all on one day."""
    spread = zlib.crc32(os.fsencode(before.path) + str(before.gone_through).encode()) / 2**32
    return 0 <= now - before.gone_through < _LONGEST_BELIEF_SECONDS * (0.5 + spread / 2)


class _Found:
    """What is found when a directory is gone through."""

    def __init__(self) -> None:
        self.tally: Counter[int] = Counter()
        self.bytes = 0
        self.by_name = 0
        self.unread = 0
        self.entries = 0
        self.written = 0.0  # Unix time when the newest plot was written last
        self.below: list[str] = []
        self.headers = Headers()


def _go_through(directory: int, path: str, known: Headers, effort: Effort) -> _Found:
    found = _Found()
    there = []
    with os.scandir(directory) as entries:
        for entry in entries:
            effort.step()
            found.entries += 1
            if not is_plot_name(entry.name):
                if _may_enter(entry, path):
                    found.below.append(entry.name)
                continue
            status = _regular(entry)
            if status is None:
                continue

            effort.files += 1
            number = _number(path, entry.name, status)
            said = known.get(number)
            if said is None:
                found.unread += 1
            else:
                there.append(number)
            found.by_name += said is None or said == _UNREADABLE
            found.tally[_by_name(entry.name) if said is None else _completed(said, entry.name)] += 1
            found.bytes += status.st_size
            found.written = max(found.written, status.st_mtime)
    found.headers = known if len(there) == len(known) else known.kept(there)
    return found


def _may_enter(entry: os.DirEntry[str], path: str) -> bool:
    depth = path.count("/") + 1 if path else 0
    if entry.name.startswith(".") or entry.name in _SKIPPED or depth >= DEEPEST:
        return False
    return entry.is_dir(follow_symlinks=False)


def _regular(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return what a file looks like; None if it is no regular one, or gone."""
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _number(path: str, name: str, status: os.stat_result) -> int:
    """Return the number that a file is known by: 64 bits, so a million plots hardly ever share one."""
    whole = f"{path}/{name}" if path else name
    digest = blake2b(os.fsencode(f"{whole}\0{status.st_size}\0{status.st_mtime_ns}"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


@contextlib.contextmanager
def _opened_below(root: int, path: str) -> Iterator[int | None]:
    """Open a directory step by step, never leaving the mount; None if it went meanwhile or is not ours to read."""
    # Opened afresh: through an open directory btrfs shows at first what was there when it was opened.
    steps = [os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)]
    try:
        try:
            for part in path.split("/") if path else ():
                steps.append(os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=steps[-1]))
            on_drive = len(steps) == 1 or mount_id_of(steps[-1]) == mount_id_of(root)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            on_drive = False
        yield steps[-1] if on_drive else None
    finally:
        for step in steps:
            os.close(step)


# ---- Headers ----------------------------------------------------------------------------------------


def _with_headers(root: int, found: CountedDirectory, effort: Effort) -> Iterator[CountedDirectory]:
    """Yield a directory with more and more of its headers read, now and then and in the end.

    They are read from another file on each time: where the drive hangs at one, the others are read at the next run. Of
    their names none is kept: they may be many.
    """
    learnt: dict[int, int] = {}
    tally = Counter(found.tally)
    by_name = found.by_name
    last = time.monotonic()
    for name, number, said in _read_headers(root, found, effort):
        learnt[number] = said
        tally[_by_name(name)] -= 1
        tally[_completed(said, name)] += 1
        by_name -= said != _UNREADABLE
        if time.monotonic() >= last + _REPORT_SECONDS:
            found = _told(found, learnt, tally, by_name)
            learnt.clear()
            yield found
            last = time.monotonic()
    if learnt:
        yield _told(found, learnt, tally, by_name)


def _told(
    found: CountedDirectory, learnt: Mapping[int, int], tally: Mapping[int, int], by_name: int
) -> CountedDirectory:
    headers = Headers(found.headers).with_more(learnt.items()).packed()
    left = {said: files for said, files in tally.items() if files > 0}
    return replace(found, tally=left, by_name=by_name, unread=max(0, found.unread - len(learnt)), headers=headers)


def _read_headers(root: int, found: CountedDirectory, effort: Effort) -> Iterator[tuple[str, int, int]]:
    """Yield (file name, number of the file, what its header said), those of one directory that are not known."""
    known = Headers(found.headers)
    start = random.randrange(max(1, found.unread))  # noqa: S311 (no secret)
    for is_before_start in (False, True):
        place = 0
        with _opened_below(root, found.path) as directory:
            for entry, number in _plots_in(directory, found.path, effort):
                if time.monotonic() >= effort.until:
                    return
                if known.get(number) is not None:
                    continue
                place += 1
                if (place <= start) is not is_before_start:
                    continue
                said = _said_by(entry.name, directory)
                if said is not None:
                    effort.headers += 1
                    yield entry.name, number, said


def _plots_in(directory: int | None, path: str, effort: Effort) -> Iterator[tuple[os.DirEntry[str], int]]:
    """Yield the plot files in an open directory with their numbers."""
    if directory is None:
        return
    with os.scandir(directory) as entries:
        for entry in entries:
            effort.moved = time.monotonic()
            if is_plot_name(entry.name) and (status := _regular(entry)) is not None:
                yield entry, _number(path, entry.name, status)


def _said_by(name: str, directory: int | None) -> int | None:
    """Read the header of one file; None if that is to be tried again."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except OSError:
        return None
    try:
        facts = os.fstat(file)
        if not stat.S_ISREG(facts.st_mode):
            return None
        header = read_header(os.pread(file, _START_BYTES, 0), facts.st_size)
        k = 0 if header.problem or header.k is None else header.k
        return _as_number(header.kind, k, header.group_size or 0)
    except OSError:
        return _UNREADABLE
    finally:
        os.close(file)


def _as_number(kind: PlotFormat, k: int, group_size: int = 0) -> int:
    return kind.entry.code | k << 4 | group_size << 12


def _by_name(name: str) -> int:
    return _as_number(of_suffix(os.path.splitext(name)[1]), _k_of(name))


def _completed(said: int, name: str) -> int:
    """Add what the header did not say."""
    if said == _UNREADABLE:
        return _by_name(name)
    return said if said >> 4 & 255 else said | _k_of(name) << 4


def _k_of(name: str) -> int:
    found = _K_IN_NAME.search(name)
    return int(found[1]) if found else 0
