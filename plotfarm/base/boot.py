"""Which start of this host it is: what is remembered of a process, a mount or a clock holds until the next one."""

from __future__ import annotations

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def boot_id() -> str:
    """Return what names this start of the host; "" if the kernel does not say. Source: proc(5)."""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""
