"""File systems on loop devices as plot drives: what a drive's file system costs, at the speed of what is below it.

Needs root; call everything inside `testbed.mounts.private_mounts`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.surroundings import missing
from testbed.mounts import why_no_mounts

KINDS = ("ext4", "xfs")
_MKFS = {
    # Nothing is left to be initialised in the background of a measurement.
    "ext4": ("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"),
    "xfs": ("mkfs.xfs", "-q"),
}
_OWN_BYTES = 400 * 10**6  # what the file system takes for itself, and what drive_manager.py wants to be left
_ZEROS = bytes(16 * 2**20)


def why_no_loop_drives(kind: str) -> str | None:
    """Say why there can be no such drives here, or None."""
    program = _MKFS[kind][0]
    return f"not installed: {program}" if missing([program]) else why_no_mounts()


def image_bytes(plots: int) -> int:
    """Return how large the image of a drive is that takes so many bytes of plots."""
    size = plots + plots // 50 + _OWN_BYTES
    return size - size % len(_ZEROS) + len(_ZEROS)


@contextlib.contextmanager
def loop_drives(kind: str, directory: Path, places: Sequence[Path], plots: int) -> Iterator[None]:
    """Mount a drive with room for so many bytes of plots at each place; the images lie in `directory`."""
    with contextlib.ExitStack() as stack:
        for place in places:
            image = directory / f"{place.name}.image"
            stack.callback(image.unlink, missing_ok=True)
            _write_zeros(image, image_bytes(plots))
            _run(*_MKFS[kind], str(image))
            losetup = ["losetup", "--find", "--show", "--direct-io=on", str(image)]
            device = subprocess.run(losetup, check=True, capture_output=True, text=True).stdout.strip()
            try:
                place.mkdir(parents=True, exist_ok=True)
                _run("mount", device, str(place))
            finally:
                _run("losetup", "-d", device)  # as soon as it is not mounted any more
            stack.callback(_run, "umount", str(place))
        yield


def _write_zeros(image: Path, size: int) -> None:
    # Not a hole: the file system below would look for room in the middle of a measurement.
    with open(image, "wb") as file:
        for _ in range(size // len(_ZEROS)):
            file.write(_ZEROS)
        file.flush()
        os.fsync(file.fileno())


def file_system_of(directory: Path) -> str:
    """Return the type of the file system that a directory is on, as stat(1) calls it."""
    argv = ["stat", "--file-system", "--format=%T", str(directory)]
    return subprocess.check_output(argv, text=True).strip()


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
