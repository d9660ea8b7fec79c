"""Whether any process has a file open for writing: the kernel is asked, or /proc where it cannot answer."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from pathlib import Path

from plotfarm.base.locks import file_system_of

# Their leases come from the server: a refusal there does not mean that somebody is writing.
_SERVER_LEASES = {"nfs4", "cifs", "smb3"}


def is_open_for_writing(descriptor: int, path: Path) -> bool | None:
    """Tell whether anyone has the file open for writing; None if no writer is seen but one could be hidden.

    `descriptor` is open for reading only. Linux refuses a read lease (fcntl(2), F_SETLEASE) while the file
    is open for writing anywhere on this host. Where this process may not take leases (not the owner, or the
    file system has none) the descriptors in /proc are looked through; those of other users stay hidden.
    """
    answer = _ask_lease(descriptor)
    if answer is True and file_system_of(path) in _SERVER_LEASES:
        answer = None
    return _search_processes(descriptor) if answer is None else answer


def _ask_lease(descriptor: int) -> bool | None:
    # Who opens the file for writing in the moment of the lease waits until it is given back, and the kernel
    # signals us. The signal would be SIGIO, which kills; SIGURG is ignored unless someone wants it.
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _search_processes(descriptor: int) -> bool | None:
    wanted = os.fstat(descriptor)
    hidden = False
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            numbers = os.listdir(process / "fd")
        except PermissionError:
            hidden = True
        except OSError:  # it ended meanwhile
            continue
        else:
            if any(_writes_to(process, number, wanted) for number in numbers):
                return True
    return None if hidden else False


def _writes_to(process: Path, number: str, wanted: os.stat_result) -> bool:
    try:
        if not os.path.samestat(os.stat(process / "fd" / number), wanted):
            return False
        information = (process / "fdinfo" / number).read_bytes()
    except OSError:  # closed meanwhile
        return False
    flags = next((line for line in information.split(b"\n") if line.startswith(b"flags:")), b"flags: 0")
    return int(flags.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
