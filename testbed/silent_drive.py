"""A drive that never answers: a FUSE file system whose server reads no request. Needs root.

Call it inside `testbed.mounts.private_mounts`. Whatever touches it hangs, as on a dying disk, until it answers again.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from testbed.mounts import why_no_mounts


def why_no_silent_drives() -> str | None:
    """Say why there can be no such drive here, or None."""
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "needs root and /dev/fuse to mount a file system that never answers"
    return why_no_mounts()


@contextlib.contextmanager
def silent(place: Path) -> Iterator[None]:
    """Let a directory never answer for a while; what it held is there again afterwards."""
    server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"silent", os.fsencode(place), b"fuse", ctypes.c_ulong(0), options) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"mount(2): {os.strerror(number)}")
        yield
    finally:
        os.close(server)  # what hangs there ends with an error
        subprocess.run(["umount", "-l", str(place)], stdin=subprocess.DEVNULL, capture_output=True, check=False)
