r"""Drives that a person took out of use: the file `offlined_drives` in the state directory.

One drive a line, by its identity (uuid:...), name (drive6), mountpoint or device; `#` starts a comment. What is
strange in a name is written as in fstab: `\040` is a space. Lines that the suite writes hold the identity, so
that a drive stays offline wherever it is plugged in, and for people its name, mountpoint and the date:

    uuid:0b7f6a52-...  # drive6 /mnt/enclosure0/front/column1/drive6 2026-11-24 01:40
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from plotfarm.base.config.loader import CHECKOUT
from plotfarm.base.errors import PlotfarmError
from plotfarm.base.locks import Lock
from plotfarm.drives.model import Drive
from plotfarm.drives.mount_table import decode
from plotfarm.plots.names import escaped

FILE_NAME = "offlined_drives"
ORIGINAL = CHECKOUT / FILE_NAME  # of the system before this one: it lay beside the scripts


@dataclass(frozen=True)
class Entry:
    """One line of the file that means a drive."""

    text: str  # an identity, name, mountpoint or device
    place: str = ""  # the mountpoint in the comment behind it, if that is one of ours

    @property
    def ways(self) -> frozenset[str]:
        """What of a drive it may mean; a drive whose UUID cannot be told now is the one that was there before."""
        lost = {f"mount:{self.place}"} if self.place and self.text.startswith("uuid:") else set()
        return frozenset({self.text, *lost})


def read_offlined(state_directory: Path) -> frozenset[str]:
    """Return what stands for drives in the file, and in the original as long as that is not taken over.

    PlotfarmError if it cannot be read: guessing could write to a drive that is being pulled out.
    """
    return ways(read_entries(state_directory))


def read_entries(state_directory: Path) -> list[Entry]:
    """Return the same line by line, with the mountpoints that the drives had."""
    text = _read(state_directory / FILE_NAME)
    return [*_entries(text), *_entries(_still_to_take_over(text, state_directory))]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise PlotfarmError(f"cannot read which drives are offlined: {path}: {error.strerror}") from None


def parse_offlined(text: str) -> frozenset[str]:
    """Return what stands for drives in the content of the file."""
    return ways(_entries(text))


def ways(entries: Iterable[Entry]) -> frozenset[str]:
    """Return everything that the entries may mean, for `is_offlined`."""
    return frozenset(way for entry in entries for way in entry.ways)


def _entries(text: str) -> list[Entry]:
    return [entry for entry in map(_entry, text.split("\n")) if entry]


def _entry(line: str) -> Entry | None:
    """Read one line; None if it means no drive."""
    before, _, comment = f" {line.strip()}".replace("\t#", " #").partition(" #")
    text = decode(before.strip())
    if not text:
        return None
    words = [decode(word) for word in comment.split()[:2]]
    ours = len(words) == 2 and words[1].startswith("/") and os.path.basename(words[1]) == words[0]
    return Entry(f"/{os.path.normpath(text).strip('/')}" if text.startswith("/") else text, words[1] if ours else "")


def is_offlined(drive: Drive, entries: Collection[str]) -> bool:
    """Tell whether one of the entries means this drive."""
    if not entries:
        return False
    return any(way in entries for way in (drive.identity, drive.name, drive.mountpoint, drive.device))


def find(
    what: str, drives: Sequence[Drive], serials: Mapping[str, str], disks: Mapping[str, str] | None = None
) -> Drive:
    """Return the one drive that a person means by a name, mountpoint, device, serial number or identity.

    `serials` and `disks` (the whole disk behind a drive): by identity. PlotfarmError, with the choices, if it
    may be several drives or none.
    """
    found = named(what, drives, serials, disks)
    if len(found) > 1 and len({drive.mountpoint for drive in found}) == 1:  # one took the place of the others
        found = [drive for drive in found if drive.device_number] or found
    if len(found) == 1:
        return found[0]
    if found:
        choices = " or ".join(sorted(_choice(drive, found) for drive in found))
        raise PlotfarmError(f"'{escaped(what)}' may be {choices}: name one of these")
    raise PlotfarmError(f"no plot drive is called '{escaped(what)}': {listed(drives)}")


def named(
    what: str, drives: Sequence[Drive], serials: Mapping[str, str], disks: Mapping[str, str] | None = None
) -> list[Drive]:
    """Return every drive that `what` may mean."""
    from plotfarm.drives.mounts import as_mountpoint, real_device  # nothing that normal mode needs here

    asked = {what, as_mountpoint(what), real_device(what)} - {""}

    def called(drive: Drive) -> set[str]:
        names = {drive.identity, drive.name, drive.mountpoint, serials.get(drive.identity, "")}
        if drive.device_number:  # of a drive that is gone the device may be another one's by now
            names |= {drive.device, real_device(drive.device), (disks or {}).get(drive.identity, "")}
        return names

    return [drive for drive in drives if called(drive) & asked]


def _choice(drive: Drive, found: Sequence[Drive]) -> str:
    unique = [other.mountpoint for other in found].count(drive.mountpoint) == 1
    return escaped(drive.mountpoint if unique else drive.identity)


def listed(drives: Sequence[Drive]) -> str:
    """Return the drives in words: by name, or by mountpoint where a name is not enough."""
    if not drives:
        return "there is none"
    names = [drive.name for drive in drives]
    shown = (drive.name if names.count(drive.name) == 1 else drive.mountpoint for drive in drives)
    return f"there {'is' if len(drives) == 1 else 'are'} {', '.join(map(escaped, shown))}"


def absent(entries: Sequence[Entry], drives: Sequence[Drive]) -> list[Drive]:
    """Return a drive, as far as it is known, for each entry that means none of `drives`."""
    return [
        Drive(entry.place or entry.text, "", entry.text, 0, "")
        for entry in entries
        if not any(is_offlined(drive, entry.ways) for drive in drives)
    ]


def take_offline(state_directory: Path, lock_directory: Path, drive: Drive, now: float) -> bool:
    """Send no more plots to a drive, from now on; False if it is offline already. PlotfarmError if that fails."""
    with _changing(state_directory, lock_directory) as lines:
        if is_offlined(drive, parse_offlined("".join(lines))):
            return False
        lines.append(_line(drive, now))
    return True


def bring_online(
    state_directory: Path, lock_directory: Path, drive: Drive, others: Sequence[Drive], now: float
) -> None:
    """Take out every entry that means a drive; the `others` that it means too stay offline, by their identities."""
    with _changing(state_directory, lock_directory) as lines:
        before = parse_offlined("".join(lines))
        lines[:] = [line for line in lines if not ((entry := _entry(line)) and is_offlined(drive, entry.ways))]
        left = parse_offlined("".join(lines))
        for other in others:
            if other.identity != drive.identity and is_offlined(other, before) and not is_offlined(other, left):
                lines.append(_line(other, now))


def take_over(state_directory: Path, lock_directory: Path, drives: Sequence[Drive], now: float) -> list[str]:
    """Take over the original, once; returns its entries as people read them: "drive6 (/mnt/...)".

    An entry that means exactly one of the mounted `drives` becomes that one's identity, others stay as they are.
    """
    path = state_directory / FILE_NAME
    if not _entries(_still_to_take_over(_read(path), state_directory)):
        return []
    with _changing(state_directory, lock_directory) as lines:
        entries = _entries(_still_to_take_over("".join(lines), state_directory))
        if not entries:
            return []
        lines.append(f"{_taken_over()}{_date(now)}\n")
        taken = []
        for entry in entries:
            meant = [drive for drive in drives if is_offlined(drive, entry.ways)]
            one = meant[0] if len(meant) == 1 else None
            lines.append(_line(one, now) if one else f"{_encoded(entry.text)}\n")
            taken.append(escaped(f"{one.name} ({one.mountpoint})" if one else entry.text))
    return taken


def _still_to_take_over(text: str, state_directory: Path) -> str:
    """Return the content of the original unless `text`, the content of the file, says that it was taken over."""
    if state_directory / FILE_NAME == ORIGINAL or any(line.startswith(_taken_over()) for line in text.split("\n")):
        return ""
    return _read(ORIGINAL)


def _taken_over() -> str:
    return f"# taken over from {_encoded(str(ORIGINAL))} "


def _line(drive: Drive, now: float) -> str:
    what = drive.mountpoint if drive.identity.startswith("mount:") else drive.identity  # it has no UUID
    return f"{_encoded(what)}  # {_encoded(drive.name)} {_encoded(drive.mountpoint)} {_date(now)}\n"


def _date(now: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(now))


def _encoded(text: str) -> str:
    return "".join(c if c.isprintable() and c not in " #\\" else _octal(c) for c in text)


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))


@contextmanager
def _changing(state_directory: Path, lock_directory: Path) -> Iterator[list[str]]:
    """Hand out the lines of the file to be changed, and write them if they were: whole or not at all."""
    from plotfarm.base.files import write_atomically  # seldom needed

    path = state_directory / FILE_NAME
    try:
        lock = Lock(lock_directory / "offlined.lock")
        lock.acquire(wait=True)
        with lock:
            text = _read(path).removesuffix("\n")
            lines = [f"{line}\n" for line in text.split("\n")] if text else []
            before = list(lines)
            yield lines
            if lines != before:
                _create(path)
                # Bytes that are no UTF-8 are written as fstab would: the entry stays the same.
                text = "".join(_octal(c) if "\udc80" <= c <= "\udcff" else c for c in "".join(lines))
                write_atomically(path, text)
    except OSError as error:
        where = error.filename or path
        raise PlotfarmError(
            f"cannot change which drives are offlined: {where}: {error.strerror}; run this as the user that the "
            "suite runs as"
        ) from None


def _create(path: Path) -> None:
    """Make the file if it is not there, so that the user whom the directory belongs to can read and change it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    try:
        os.fchmod(descriptor, 0o600)
        if os.geteuid() == 0:
            owner = path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    finally:
        os.close(descriptor)
