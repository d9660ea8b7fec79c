#!/usr/bin/env python3
"""What a heartbeat costs a run of drive_manager.py when the service that hears it hangs."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from plotfarm.base.venv import hand_over

hand_over()

import argparse  # noqa: E402
import os  # noqa: E402
import random  # noqa: E402
import statistics  # noqa: E402
import tempfile  # noqa: E402

from benchmarks.startup import command, make_farm, milliseconds  # noqa: E402
from benchmarks.surroundings import processor, workplace  # noqa: E402
from testbed.farm import Farm  # noqa: E402
from testbed.heartbeat_server import HeartbeatServer  # noqa: E402

_ABOUT = """\
Times drive_manager.py in normal mode with nothing to change, as a whole process, the hand-over to .venv included:
without a heartbeat, and with one to a server that takes each request and never answers. Both take turns, in random
order within each pair, and what is shown of the difference is the median of the pairs. With --check the exit status
is 1 if that is 5 ms or more."""

_EXAMPLES = """\
examples:
  benchmarks/heartbeats.py
  benchmarks/heartbeats.py --pairs 200 --check"""

_GOAL_MILLISECONDS = 5.0
_WARM_UP_PAIRS = 3


def measure(farm: Farm, url: str, pairs: int) -> list[tuple[float, float]]:
    """Return (without, with a heartbeat) in milliseconds for each pair."""
    path = farm.nas.config
    without = path.read_text()
    with_beat = f"{without}\n[heartbeat]\ndrive_manager = {url}\n"
    found = []
    for number in range(pairs + _WARM_UP_PAIRS):
        texts = [without, with_beat]
        random.shuffle(texts)
        took = {}
        for text in texts:
            path.write_text(text)
            milliseconds(farm, command("drive_manager", farm.nas))  # once for the new file, and not counted
            took[text] = milliseconds(farm, command("drive_manager", farm.nas))
        if number >= _WARM_UP_PAIRS:
            found.append((took[without], took[with_beat]))
    return found


def main() -> int:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=_ABOUT, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=60, help="pairs of runs (60)")
    parser.add_argument("--drives", type=int, default=44, help="drives of the NAS (44)")
    parser.add_argument("--plots", type=int, default=10_000, help="plots on them (10000)")
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()), help="where the farm is made")
    parser.add_argument("--check", action="store_true", help=f"fail at {_GOAL_MILLISECONDS:g} ms or more")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with (
        workplace(arguments.directory) as directory,
        HeartbeatServer(hangs=True) as server,
        make_farm(directory / "farm", arguments.drives, arguments.plots) as farm,
    ):
        # Senders give up soon, so that those of many runs do not pile up here as they never would by cron.
        farm.nas.change({"notifications.timeout_seconds": 0.5})
        milliseconds(farm, command("drive_manager", farm.nas))  # from now on the right drive is configured
        pairs = measure(farm, server.healthchecks_url, arguments.pairs)
    print(f"{processor()}\n")
    print("| drive_manager.py, normal mode | median | least |\n|---|---|---|")
    for name, column in (("without a heartbeat", 0), ("with one to a server that hangs", 1)):
        values = [pair[column] for pair in pairs]
        print(f"| {name} | {statistics.median(values):.1f} ms | {min(values):.1f} ms |")
    differences = [pair[1] - pair[0] for pair in pairs]
    low, middle, high = statistics.quantiles(differences, n=4)
    print(f"\nThe heartbeat costs {middle:.1f} ms (quartiles {low:.1f} to {high:.1f}) in {len(pairs)} pairs")
    print(f"{os.cpu_count()} cores, load {load:.2f} before and {os.getloadavg()[0]:.2f} after")
    return int(arguments.check and middle >= _GOAL_MILLISECONDS)


if __name__ == "__main__":
    sys.exit(main())
