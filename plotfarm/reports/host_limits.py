"""Limits of a NAS that many plotters would meet: which of them are too low, and what to say of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HostLimits:
    """What a NAS allows, and for how many. None: it cannot be read."""

    ports: int  # of [transfer] ports
    drives: int  # that are there
    arrivals: int  # [receiving] arrivals; 0: one for each drive
    plotters: int  # that have sent something lately
    sessions: int  # of each plotter at most
    inotify_instances: int | None  # of one user: fs.inotify.max_user_instances
    startups: int | None  # connections that have not logged in, before sshd drops some: MaxStartups


def shortfalls(limits: HostLimits) -> list[str]:
    """Return a sentence for each limit that is too low."""
    found = []
    at_once = min(limits.drives, limits.arrivals or limits.drives)
    if limits.ports < at_once:
        found.append(
            f"{limits.ports} plots arrive at once at most, although {at_once} could: [transfer] ports has no more ports"
        )
    sessions = limits.plotters * limits.sessions
    if limits.inotify_instances is not None and limits.inotify_instances < sessions:
        found.append(
            f"plots that wait for a drive may begin 10 seconds late: {limits.plotters} plotters may have {sessions} "
            f"sessions, and fs.inotify.max_user_instances is {limits.inotify_instances}"
        )
    if limits.startups is not None and limits.startups < limits.plotters:
        found.append(
            f"sshd drops connections when all {limits.plotters} plotters connect in the same moment: "
            f"its MaxStartups begins with {limits.startups}"
        )
    return found
