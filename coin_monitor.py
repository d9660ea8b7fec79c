#!/usr/bin/env python3
"""Tell of new coins: reads what Chia's log has to say since the last run. Cron starts it every minute."""

import sys

from plotfarm.base.venv import hand_over

hand_over()

import argparse  # noqa: E402  # only now: the lines above must run under any Python
from collections.abc import Callable  # noqa: E402
from datetime import date  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

from plotfarm import __version__  # noqa: E402
from plotfarm.reports.arguments import Parser  # noqa: E402

if TYPE_CHECKING:
    from plotfarm.base.config.sections import Config

_ABOUT = """\
Reads what is new in Chia's log and tells of each coin that you receive, once: by mail, SMS, push or any other
service. Every coin is also noted in logs/new_coins.log. Chia's wallet is asked where this user can read its
certificate; otherwise Chia has to log at level DEBUG, before version 2.7.4 at level INFO:
  chia configure --set-log-level DEBUG     (then restart it)
The first run takes what is in the logs for the past, and tells of nothing."""

_EXAMPLES = """\
examples:
  coin_monitor.py                            what is new (the cron line)
  coin_monitor.py --log test.log             try it on another log, with a state of its own
  coin_monitor.py --report --since 2026-01-01
  coin_monitor.py --csv coins.csv            all coins, for a spreadsheet
  coin_monitor.py --summary                  send the summary of the day
  coin_monitor.py --test_notifications

lines for cron:
  *  *  * * * cd /root/plot_manager && /usr/bin/python3 /root/plot_manager/coin_monitor.py
  05 00 * * * cd /root/plot_manager && /usr/bin/python3 /root/plot_manager/coin_monitor.py --summary >/dev/null

Every script of this host looks at when the others ran last by cron, and an alert tells of one that has stopped. If
this one is not used here any more: intervals = coin_monitor: 0 in [watch] of plot_manager_config.

exit status: 0 all is well, 1 the log cannot be read (said in coin_monitor.log), 2 wrong arguments or configuration"""


def main() -> int:
    """Read the arguments and run the job; returns the exit status."""
    parser = Parser("coin_monitor.py", _ABOUT, _EXAMPLES)
    add = parser.add_argument
    add("-v", "--version", action="version", version=f"%(prog)s {__version__}")
    add("--config", metavar="FILE", help="the configuration to use")
    add("--json", action="store_true", help="with --report, --summary or --test_notifications: the same as JSON")
    add("--wide", action="store_true", help="with --report: all of it, whatever the width of the terminal")
    add(
        "--since", metavar="DATE", type=date.fromisoformat, help="with --report or --csv: from this day on (2026-01-31)"
    )
    add("--tell_past", action="store_true", help="on the first run: tell also of the coins in the logs that are there")
    add = parser.add_mutually_exclusive_group().add_argument
    add("--log", metavar="FILE", type=Path, help="read this log from its begin, with a state of its own")
    add("--report", action="store_true", help="print totals by month and day, blocks found, expected time to win")
    add("--csv", metavar="FILE", help="write all coins to a file (-: standard output)")
    add("--summary", action="store_true", help="send the summary of the day, and print it")
    add("--test_notifications", action="store_true", help="send a test by each way that is set up")
    arguments = parser.parse_args()
    if arguments.json and not (arguments.report or arguments.summary or arguments.test_notifications):
        parser.error("--json says how a report is written: give --report --json")
    if arguments.wide and not arguments.report:
        parser.error("--wide says how the report is written: give --report --wide")
    if arguments.since and not (arguments.report or arguments.csv):
        parser.error("--since says what a report is about: give --report or --csv")

    from plotfarm.jobs import entry

    job = job_for(arguments)
    return entry.run("coin_monitor", job, arguments.config, unattended=_is_normal_run(arguments))


def _is_normal_run(arguments: argparse.Namespace) -> bool:
    return not any(value for name, value in vars(arguments).items() if name not in ("config", "tell_past"))


def job_for(arguments: argparse.Namespace) -> "Callable[[Config], int]":
    """Return the job that the arguments ask for; only its own modules are imported."""
    if arguments.report or arguments.csv or arguments.summary:
        from plotfarm.jobs import coin_reports

        if arguments.summary:
            return partial(coin_reports.summary, as_json=arguments.json)
        form = {"as_json": arguments.json, "wide": arguments.wide}
        return partial(coin_reports.report, since=arguments.since, csv=arguments.csv, **form)
    if arguments.test_notifications:
        from plotfarm.jobs import try_channels
        from plotfarm.reports.envelope import Role

        return partial(try_channels.run, as_json=arguments.json, role=Role.FARMER)
    from plotfarm.jobs import watch_coins

    return partial(watch_coins.watch, test_log=arguments.log, tell_past=arguments.tell_past)


if __name__ == "__main__":
    sys.exit(main())
