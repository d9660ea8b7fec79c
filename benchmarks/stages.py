"""One job as its script runs it, with a clock on its stages: `startup.py` starts this, with .venv/bin/python.

Nothing is imported before the clock runs but `time`, so that the imports are those of the job.
"""

from __future__ import annotations

import time

_BEGUN = time.perf_counter()
_seconds: dict[str, float] = {}


def _timed(owner: object, name: str, stage: str) -> None:
    """Have every call of owner.name add its seconds to `stage`."""
    function = getattr(owner, name)

    def wrapper(*arguments: object, **named: object) -> object:
        begun = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            _seconds[stage] = _seconds.get(stage, 0.0) + time.perf_counter() - begun

    setattr(owner, name, wrapper)


def main(script: str, config: str) -> int:
    """Run the job of `script` on a configuration; prints stage -> seconds as JSON."""
    import argparse  # noqa: F401 (as the scripts do)
    import functools
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    if script == "drive_manager":
        from plotfarm.jobs import choose_drive, entry, look_after, stock

        job = choose_drive.choose_drive
        _timed(stock, "survey", "finding the drives")
        _timed(stock, "probe", "asking the drives")
        _timed(choose_drive, "State", "state database")
        _timed(look_after, "look_after", "what is wrong, and what is over")
    else:
        from plotfarm.jobs import entry, finished_plots, move_plots, send_plots

        module = send_plots if script == "plot_manager" else move_plots
        job = functools.partial(module.run, dry_run=False)
        _timed(finished_plots, "find_plots", "looking for plots")
        _timed(module, "State", "state database")
    import system_logging

    _seconds["imports"] = time.perf_counter() - _BEGUN
    _timed(entry, "load", "configuration")
    _timed(entry, "_tell", "messages that wait")
    _timed(system_logging, "configure", "logging set-up")
    status = entry.run(script, job, config)
    _seconds["everything else in the job"] = time.perf_counter() - _BEGUN - sum(_seconds.values())
    import json

    print(json.dumps(_seconds))
    return status


if __name__ == "__main__":
    import sys

    sys.exit(main(*sys.argv[1:]))
