"""How smartctl is started on this host."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Sequence

from plotfarm.base.errors import PlotfarmError
from plotfarm.base.processes import find_program

NOT_INSTALLED = "smartctl is not installed (apt-get install smartmontools)"


def smartctl_words(
    configured: Sequence[str], is_root: bool | None = None, find: Callable[[str], str | None] = find_program
) -> list[str]:
    """Return the words that start smartctl, the first an absolute path; PlotfarmError if it is not there.

    Nothing `configured`: smartctl itself for root, otherwise through `sudo -n`, which never asks for a password.
    """
    if configured:
        first = find(configured[0])
        if first is None:
            raise PlotfarmError(f"{configured[0]} of [smart] smartctl is not there or not executable")
        return [os.path.abspath(first), *configured[1:]]
    smartctl = find("smartctl")
    if smartctl is None:
        raise PlotfarmError(NOT_INSTALLED)
    smartctl = os.path.abspath(smartctl)
    if os.geteuid() == 0 if is_root is None else is_root:
        return [smartctl]
    sudo = find("sudo")
    return [os.path.abspath(sudo), "-n", smartctl] if sudo else [smartctl]


def permission_remedy(words: Sequence[str]) -> str:
    """Return what lets the present user start smartctl with these words."""
    if os.geteuid() == 0:
        return "even root may not open it: is this a container that its disks were not handed to?"
    line = f"'{_user()} ALL=(root) NOPASSWD: {find_program(words[-1]) or words[-1]}'"
    first = "" if any(os.path.basename(word) == "sudo" for word in words) else "install sudo and "
    return f"{first}put the line {line} into /etc/sudoers.d/plotfarm"


def arguments(disk: str, kind: str, wake: bool) -> list[str]:
    """Return what smartctl is asked. `kind`: see disks.type_of; `wake`: also if the disk has to start up for it.

    The answer is JSON, which holds the lines that smartctl prints for people as well.
    """
    return [*([] if wake else ["-n", "standby"]), *(["-d", kind] if kind else []), "--json=o", "--all", disk]


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"#{os.geteuid()}"  # as sudoers(5) writes a user without a name
