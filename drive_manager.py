#!/usr/bin/env python3
"""Chooses the drive of this NAS that the next plots go to. Cron runs it every minute, without arguments."""

import sys

from plotfarm.base.venv import hand_over

hand_over()

import argparse  # noqa: E402  # only now: the lines above must run under any Python
from functools import partial  # noqa: E402

from plotfarm import __version__  # noqa: E402

_ABOUT = """\
Without arguments drive_manager.py runs in 'normal' mode: it looks at every plot drive that is mounted
now, chooses the one that the next plots go to, and writes it to plot_manager_config as
current_plotting_drive. It keeps that drive while a plot is arriving there. Cron runs it every minute.
"""
_EXAMPLES = """\
examples:
  ./drive_manager.py              choose the plot drive (normal mode)
  ./drive_manager.py --explain    show every drive, and why it was taken or passed over; changes nothing
  ./drive_manager.py --explain --json | jq .chosen

  * * * * * /root/plot_manager/drive_manager.py >/dev/null 2>&1     the line for cron
"""


def main() -> int:
    """Read the arguments and run the job; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="drive_manager.py",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-v", "--version", action="version", version=f"drive_manager.py {__version__}")
    parser.add_argument("--explain", action="store_true", help="say for each drive why it is taken or passed over")
    parser.add_argument("--json", action="store_true", help="with --explain: the same facts as JSON")
    parser.add_argument("--config", metavar="FILE", help="the configuration to use instead of plot_manager_config")
    arguments = parser.parse_args()
    if arguments.json and not arguments.explain:
        parser.error("--json says how --explain is written: give both")

    # Only here: help and version work also where the rest does not.
    from plotfarm.jobs import choose_drive, entry

    job = partial(choose_drive.explain, json=arguments.json) if arguments.explain else choose_drive.choose_drive
    return entry.run("drive_manager", job, arguments.config)


if __name__ == "__main__":
    sys.exit(main())
