"""`--status` of plot_manager.py and drive_manager.py: reads locks and what is remembered, and touches nothing else."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import NoReturn

from plotfarm.base.config.sections import Config
from plotfarm.base.errors import PlotfarmError
from plotfarm.base.locks import holder, is_alive, last_content
from plotfarm.base.state import State
from plotfarm.drives.model import Arrival
from plotfarm.drives.reservations import Reservations
from plotfarm.drives.speed import speeds
from plotfarm.jobs.run_records import newest_runs
from plotfarm.jobs.server import sender
from plotfarm.plots.names import escaped
from plotfarm.reports import status as words
from plotfarm.reports.envelope import Report, Role, enveloped
from plotfarm.reports.status import Running, Status
from plotfarm.reports.terminal import say, standard_output

_LAST = 10
_REDRAW_SECONDS = 1.0
_PLOTTER_LOCKS = ("plot_manager.lock", "plot_manager_testing.lock")


def of_plotter(config: Config, as_json: bool = False, watch: bool = False, wide: bool = False) -> int:
    """Print what is on its way from this plotter."""
    if watch:
        return _watch(config, _look_at_plotter, wide)
    return _show(config, _look_at_plotter(config), Role.PLOTTER, as_json, wide)


def of_nas(config: Config, as_json: bool = False, watch: bool = False, wide: bool = False) -> int:
    """Print what is arriving on this NAS."""
    if watch:
        return _watch(config, _look_at_nas, wide)
    return _show(config, _look_at_nas(config), Role.NAS, as_json, wide)


def _show(config: Config, status: Status, role: Role, as_json: bool, wide: bool) -> int:
    if as_json:
        say(enveloped(Report.STATUS, sender(config, role), words.data(status), status.now))
    else:
        say(words.as_text(status, standard_output(wide=wide)))
    return 0


def _watch(config: Config, look: Callable[[Config], Status], wide: bool) -> int:
    """Draw the status anew every second until Ctrl-C."""
    if not standard_output().is_watched:
        raise PlotfarmError("--watch draws on a terminal, and this is none: leave it out, or use --json")
    try:
        _draw_anew(lambda: look(config), wide)
    except KeyboardInterrupt:  # whenever it comes: that is how to end this
        return 0


def _draw_anew(look: Callable[[], Status], wide: bool) -> NoReturn:
    from rich.live import Live
    from rich.text import Text

    def drawn(status: Status) -> Text:
        return Text.from_ansi(words.as_text(status, standard_output(wide=wide)))

    status = look()
    with Live(drawn(status), auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(_REDRAW_SECONDS)
            before = status
            status = words.with_speeds_since(before, look())
            live.update(drawn(status), refresh=True)


def _look_at_plotter(config: Config) -> Status:
    now, host = time.time(), socket.gethostname()
    running: list[Running] = []
    waiting, waiting_bytes = 0, 0
    for name in _PLOTTER_LOCKS:
        path = config.paths.locks / name
        held = holder(path) is not None
        content = last_content(path) if held else {}
        streams = content.get("streams")
        alive = held and is_alive(content)
        running += [
            words.read_stream(each, host, alive, now)
            for each in (streams if isinstance(streams, list) else []) if isinstance(each, dict)
        ]  # fmt: skip
        count, size = content.get("waiting"), content.get("waiting_bytes")
        waiting += count if isinstance(count, int) else 0
        waiting_bytes += size if isinstance(size, int) else 0
    state = State(config.paths.state)
    last = state.transfers(limit=_LAST)
    runs = newest_runs(state.database)
    state.close()
    return Status(
        host, now, config.transfer.stall_seconds, running, last, waiting, waiting_bytes, last_runs=runs
    )  # fmt: skip


def _look_at_nas(config: Config) -> Status:
    now, host = time.time(), socket.gethostname()
    reservations = Reservations(config.paths.locks)
    with reservations.mutex():  # looking takes a lock for a moment, which must not be in the way of an arrival
        arrivals = reservations.arrivals()
    state = State(config.paths.state)
    places = {identity: mountpoint for identity, (mountpoint, _) in state.known_drives().items()}
    past = state.transfers(limit=5000)
    runs = newest_runs(state.database)
    state.close()
    running = [_arriving(each, places, now) for each in arrivals]
    return Status(host, now, config.transfer.stall_seconds, running, past[:_LAST], speeds=speeds(past), last_runs=runs)


def _arriving(arrival: Arrival, places: dict[str, str], now: float) -> Running:
    moved, seconds = arrival.written_bytes - arrival.offset, arrival.progress - arrival.since
    speed = moved / seconds if moved > 0 and 0 < seconds <= now else None
    target = places.get(arrival.identity) or arrival.identity.removeprefix("directory:")
    return Running(
        escaped(arrival.plot), escaped(arrival.plotter), escaped(os.path.normpath(target)), arrival.bytes,
        arrival.written_bytes, arrival.offset, arrival.since, arrival.progress, arrival.alive, speed,
    )  # fmt: skip
