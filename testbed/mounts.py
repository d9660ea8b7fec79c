"""Real drives in files: file systems in images, mounted where nobody else sees them. Needs root.

`private_mounts` moves this process, and all that it starts meanwhile, into a mount namespace of its own, so what is
mounted there is gone with it, whatever happens.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from plotfarm.base.processes import find_program
from plotfarm.drives.mount_table import read_mount_table

_CLONE_NEWNS = 0x00020000
_libc = ctypes.CDLL(None, use_errno=True)


def why_no_mounts() -> str | None:
    """Say why nothing can be mounted here, or None."""
    if os.geteuid() != 0:
        return "mounting needs root"
    for program in ("mkfs.ext4", "losetup", "fsfreeze"):
        if find_program(program) is None:
            return f"mounting needs {program} (e2fsprogs, util-linux)"
    probe = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "mount", "-t", "tmpfs", "none", "/mnt"],
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode:
        return f"this root may not mount: {probe.stderr.strip()}"
    free = subprocess.run(["losetup", "--find"], capture_output=True, text=True, check=False)
    return f"there are no loop devices here: {free.stderr.strip()}" if free.returncode else None


@contextlib.contextmanager
def private_mounts() -> Iterator[None]:
    """Be in a mount namespace of one's own for a while, with everything that is started then."""
    directory = os.getcwd()
    with open("/proc/self/ns/mnt") as before:
        _check(_libc.unshare(_CLONE_NEWNS), "unshare(2)")
        try:
            _run("mount", "--make-rprivate", "/")
            yield
        finally:
            _check(_libc.setns(before.fileno(), _CLONE_NEWNS), "setns(2)")
            os.chdir(directory)  # setns(2) moved this process to the root directory


@contextlib.contextmanager
def played_udev() -> Iterator[Callable[[], None]]:
    """Have a /dev/disk/by-uuid of one's own, inside `private_mounts`; yields what makes its links anew."""
    names = Path("/dev/disk")
    # Containers have no udev. It stays there, empty: another test may have its own mounted there meanwhile.
    names.mkdir(exist_ok=True)
    _run("mount", "-t", "tmpfs", "none", str(names))
    links = names / "by-uuid"
    links.mkdir()
    try:
        yield lambda: _link_uuids(links)
    finally:
        _run("umount", "-l", str(names))


def _link_uuids(links: Path) -> None:
    for link in links.iterdir():
        link.unlink()
    for mount in read_mount_table():
        if mount.source.startswith("/dev/loop"):
            found = subprocess.run(
                ["blkid", "-p", "-s", "UUID", "-o", "value", mount.source], capture_output=True, text=True, check=True
            )
            (links / found.stdout.strip()).symlink_to(f"../../{mount.source.removeprefix('/dev/')}")


class LoopDrive:
    """An ext4 file system in the file `image`, mounted at `place`; call everything inside `private_mounts`."""

    def __init__(self, image: Path, place: Path, size: int) -> None:
        self.image, self.place = image, place
        with open(image, "wb") as file:
            file.truncate(size)
        # Nothing is left to be initialised in the background: a frozen file system is to be still.
        _run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))
        place.mkdir(parents=True, exist_ok=True)
        self.mount()

    def mount(self) -> None:
        """Mount it."""
        _run("mount", "-o", "loop", str(self.image), str(self.place))

    def unmount(self, *, lazily: bool = False) -> None:
        """Unmount it; lazily, as `umount -l` does, also while it is in use."""
        _run("umount", *(["-l"] if lazily else []), str(self.place))

    def freeze(self) -> None:
        """Let every write to it hang, in the kernel and unkillably, until `thaw`."""
        _run("fsfreeze", "--freeze", str(self.place))

    def thaw(self) -> None:
        """Let what hangs go on; nothing happens if it is not frozen."""
        subprocess.run(["fsfreeze", "--unfreeze", str(self.place)], capture_output=True, check=False)

    def flip(self, content: bytes) -> None:
        """Change one bit in the middle of `content` on the drive, behind the file system."""
        offset = self.image.read_bytes().index(content) + len(content) // 2
        with open(self.image, "r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 1]))


def mount_small(place: Path, size: int) -> None:
    """Mount a tmpfs of `size` bytes: a file system that reserves no room, so that it fills up in mid-transfer."""
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place))


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
