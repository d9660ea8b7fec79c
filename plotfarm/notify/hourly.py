"""Which alerts were told within the last hour, for a host that can write to no database: one empty file for each.

They lie among the locks or, where nothing can be written either, in RAM. The time of such a file says when.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from plotfarm.base.config.sections import Config
from plotfarm.notify.alerts import Key
from plotfarm.notify.policy import is_due_again, may_alert_without_memory

_RAM = Path("/dev/shm")  # noqa: S108 - a directory of this user is made there, and looked at before it is used


def due_without_memory(keys: Collection[Key], config: Config, now: float) -> set[Key]:
    """Return which alerts are to be told now (Unix time), and note that they are; of several runs one gets each.

    Where not even a file can be made, all of them in the first minute of an hour, and none in the others.
    """
    for directory in _directories(config):
        with contextlib.suppress(OSError):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return {key for key in keys if _is_due(directory / _file_name(key), now)}
    return set(keys) if may_alert_without_memory(now) else set()


def _directories(config: Config) -> Iterator[Path]:
    yield config.paths.locks
    in_ram = _RAM / f"plotfarm-{os.geteuid()}-{_name_of_host(config)}"
    with contextlib.suppress(OSError):
        in_ram.mkdir(mode=0o700, exist_ok=True)
        found = in_ram.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
            yield in_ram


def _name_of_host(config: Config) -> str:
    """Return a name of this configuration as it is now: with another one all is told anew."""
    version = ""
    with contextlib.suppress(OSError):
        found = os.stat(config.path)
        version = f"{found.st_ino} {found.st_ctime_ns}"
    return hashlib.sha256(f"{config.paths.state} {version}".encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _file_name(key: Key) -> str:
    kind, about = key
    digest = hashlib.sha256(f"{kind.value} {about}".encode("utf-8", "surrogateescape")).hexdigest()
    return f"told-{digest[:16]}.lock"


def _is_due(path: Path, now: float) -> bool:
    """Tell whether an alert is to be told now, and note it. OSError if that cannot be noted."""
    flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        os.close(os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if not is_due_again(os.lstat(path).st_mtime, now):
            return False
    os.utime(path, (now, now), follow_symlinks=False)
    return True
