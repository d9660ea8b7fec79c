"""Journeys of plots through this suite, of this checkout or another one: their settings, and how long they take."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.farm import Farm

_LONGEST_SECONDS = 3600.0
_COLUMNS = "SELECT name FROM pragma_table_info('transfers')"
_STORED = "SELECT plot, finished, seconds FROM transfers WHERE {outcome} = 'stored' AND finished >= ?"
# As a farm is configured by default; the testbed has settings of its own for quick tests.
AS_SHIPPED: dict[str, object] = {
    "system_logging.log_level": "INFO",
    "transfer.beat_seconds": "",
    "transfer.silence_seconds": "",
    "transfer.stall_seconds": "",
    "drives.probe_seconds": "",
}


@dataclass(frozen=True)
class Ours:
    """Values of `[transfer]`, and whether the version before is meant."""

    pipe: str
    netcat: str = "nc.openbsd"
    verify: str = "wire"
    is_before: bool = False


OURS = {
    "netcat": Ours("netcat"),
    "netcat-sample": Ours("netcat", verify="sample"),
    "netcat-readback": Ours("netcat", verify="readback"),
    "netcat-traditional": Ours("netcat", "nc.traditional"),
    "direct": Ours("direct"),
    "direct-sample": Ours("direct", verify="sample"),
    "direct-readback": Ours("direct", verify="readback"),
    "before-netcat": Ours("netcat", is_before=True),
    "before-direct": Ours("direct", is_before=True),
}


def configure(farm: Farm, ours: Ours, plots: Path, streams: int) -> None:
    """Set both ends up for one of our ways to send what lies in `plots`, with nothing left of the run before."""
    shutil.rmtree(farm.plotter.state, ignore_errors=True)  # or it would know that the plots were sent
    both = {"transfer.netcat": ours.netcat, "transfer.pipe": ours.pipe}
    farm.plotter.change({**both, "plotter.plot_directories": plots, "plotter.streams": streams, "nas.streams": streams})
    farm.nas.change({**both, "transfer.verify": ours.verify})


def journey(farm: Farm, names: Sequence[str]) -> float:
    """Run plot_manager.py; returns the seconds from the first offer to the last `stored` of all plots of these names.

    SystemExit if one of them was not stored.
    """
    since = time.time()
    done = farm.plot_manager(timeout=_LONGEST_SECONDS)
    if done.returncode:
        raise SystemExit(f"plot_manager.py failed: {done.stderr}\n{farm.nas.log_text()[-2000:]}")
    if not (database_file := farm.nas.state / "state.sqlite").exists():
        raise SystemExit(f"the NAS was not asked: {done.stdout}{farm.plotter.log_text()[-2000:]}")
    # Asked without the classes of this checkout: the database may be another version's, and stays as it is.
    database = sqlite3.connect(f"file:{database_file}?mode=ro", uri=True)
    with contextlib.closing(database):
        columns = {name for (name,) in database.execute(_COLUMNS)}
        outcome = "outcome" if "outcome" in columns else "result"  # as the first versions called it
        stored = database.execute(_STORED.format(outcome=outcome), [since]).fetchall()
    if {plot for plot, _, _ in stored} != set(names):
        raise SystemExit(f"{len(stored)} of {len(names)} plots stored: this proves nothing")
    began: float = min(finished - seconds for _, finished, seconds in stored)
    ended: float = max(finished for _, finished, _ in stored)
    return ended - began
