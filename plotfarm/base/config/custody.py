"""Whether other users of a host can change its configuration, or a file that holds a secret.

Trusted are root, the user who runs this, and the owner of the scripts, who could change those. Whoever else can write
to the configuration, or rename it away in a directory above it, has the suite run what he likes: it names commands.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from plotfarm.base.text import one_line

_ALL_USERS, _OVERFLOW_USER = "4294967295", 65534
_COMMANDS = "the configuration names commands that this suite runs"


def mistakes(path: Path, why: str = _COMMANDS) -> list[str]:
    """Return a line for each way by which others can change the file at `path`, with the command that ends it.

    `why`: what is bad about that.
    """
    try:
        target = Path(os.path.realpath(path))
        # A link to it can be replaced where that lies.
        places = dict.fromkeys([target, *target.parents, *Path(os.path.abspath(path)).parents])
        reasons = {place: why if place == target else "who can, can replace the file in it" for place in places}
        return [line for place in places for line in _weaknesses(place, reasons[place], is_file=place == target)]
    except OSError:  # reading it has failed as well, or will
        return []


def _weaknesses(place: Path, why: str, *, is_file: bool) -> Iterator[str]:
    status = place.stat()
    trusted = _trusted()
    shown = one_line(str(place))
    if status.st_uid not in trusted:
        yield f"{shown} belongs to user {status.st_uid}: {why}. Type: chown {os.geteuid()} {shown}"
    # In a directory with the sticky bit, such as /tmp, others cannot rename a file: unlink(2).
    if not is_file and status.st_mode & stat.S_ISVTX:
        return
    if status.st_mode & stat.S_IWOTH:
        yield f"{shown} can be written by every user of this host: {why}. Type: chmod o-w {shown}"
    if status.st_mode & stat.S_IWGRP and (others := _other_members(status.st_gid, trusted)):
        yield f"{shown} can be written by {', '.join(others)} too: {why}. Type: chmod g-w {shown}"


def _trusted() -> set[int]:
    trusted = {0, os.geteuid(), os.stat(__file__).st_uid}
    # In a container that has only some users, what belongs to others looks like this one's: user_namespaces(7). None of
    # them is in it, and what the host's root has mounted there is his.
    is_of_all = Path("/proc/self/uid_map").read_text().split()[-1] == _ALL_USERS
    return trusted if is_of_all else trusted | {_OVERFLOW_USER}


def _other_members(group: int, trusted: set[int]) -> list[str]:
    """Return who is in a group, beside those who are trusted: often nobody, for each user has a group of his own."""
    import grp
    import pwd

    try:
        named = set(grp.getgrgid(group).gr_mem)
    except KeyError:
        named = set()
    users = pwd.getpwall()
    ids = {user.pw_name: user.pw_uid for user in users}
    members = named | {user.pw_name for user in users if user.pw_gid == group}
    return sorted(one_line(name) for name in members if ids.get(name, -1) not in trusted)
