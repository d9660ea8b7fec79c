#!/usr/bin/env python3
"""Runs the plotter's own streams against the malicious NAS, and judges each session from outside.

evil_sessions.py --first 0 --count 1000      many plans, judged; what went wrong is in the last line, as JSON
evil_sessions.py --first 4711 --count 1 -v   one of them, with its plan
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import shutil
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).parent)]

import evil_plans  # noqa: E402
from evil_judge import NETCATS, SEGMENT_BYTES, SIZES, Canaries, Verdict, content, odd_netcats, true_hashes, write_netcat  # noqa: E402  # noqa: E402
from evil_nas import Plan  # noqa: E402
from evil_stream import Running, watch  # noqa: E402

AT_ONCE = 16
MOST_SHOWN = 100


def run_all(plans: list[Plan], directory: Path) -> dict[str, Any]:
    """Run the sessions of these plans, some at once, and return the figures and what went wrong."""
    os.environ["PLOT_MANAGER_SEGMENT_BYTES"] = str(SEGMENT_BYTES)
    truths = {is_large: true_hashes(content(is_large)) for is_large in SIZES}
    netcats = [write_netcat(directory, name) for name in NETCATS if shutil.which(name)]
    canaries = Canaries()
    watch()
    began, waiting, running, ended = time.monotonic(), list(reversed(plans)), list[Running](), list[Future[Verdict]]()
    enders = ThreadPoolExecutor(AT_ONCE)  # a stream that leaves a NAS in the midst of something takes a moment
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            plan = waiting.pop()
            plan |= {"truth": truths[plan["is_large"]], "known": {"$CANARY_PORT": canaries.port}}
            running.append(Running(directory / str(plan["seed"]), plan, netcats[plan["seed"] // 10 % len(netcats)]))
        ready = select.select(running, [], [], 1)[0]
        for each in [*running]:
            if (each in ready and each.hear()) or each.is_late:
                running.remove(each)
                ended.append(enders.submit(each.finish))
    verdicts = [each.result() for each in ended]
    wrong = [asdict(each) for each in verdicts if each.wrong]
    if canaries.visited():
        wrong.append({"wrong": "somebody connected to a service that was not the NAS's"})
    wrong += [{"wrong": f"netcat {line}"} for line in odd_netcats(directory)]
    ends: dict[str, int] = {}
    for end in (end for verdict in verdicts for end in verdict.ends):
        ends[end] = ends.get(end, 0) + 1
    return {
        "sessions": len(verdicts),
        "seconds": round(time.monotonic() - began, 1),
        "longest": sorted(((round(each.seconds, 1), each.seed) for each in verdicts), reverse=True)[:5],
        "removed": sum(each.is_removed for each in verdicts),
        "peak_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
        "own_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "ends": dict(sorted(ends.items())),
        "wrong": wrong,
        "verdicts": [asdict(each) for each in verdicts] if len(verdicts) <= MOST_SHOWN else [],
    }


def main() -> int:
    """Run what is asked for; 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=100, help="so many sessions")
    parser.add_argument("--plans", type=Path, help="take the plans from this file, one a line")
    parser.add_argument("-v", action="store_true", help="also print the plans")
    arguments = parser.parse_args()
    plans = [evil_plans.plan(seed) for seed in range(arguments.first, arguments.first + arguments.count)]
    if arguments.plans:
        plans = [json.loads(line) for line in arguments.plans.read_text().splitlines()]
    with tempfile.TemporaryDirectory(prefix="evil-", dir="/dev/shm", ignore_cleanup_errors=True) as directory:
        if arguments.v:
            print("\n".join(json.dumps(plan) for plan in plans))
        figures = run_all(plans, Path(directory))
    print(json.dumps(figures))
    return 1 if figures["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
