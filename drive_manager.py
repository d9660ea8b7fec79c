#!/usr/bin/env python3
"""Looks after the plot drives of this NAS: chooses the next one, reports, watches their health. Cron runs it."""

import sys

from plotfarm.base.venv import hand_over

hand_over()

import argparse  # noqa: E402  # only now: the lines above must run under any Python
from collections.abc import Callable  # noqa: E402
from functools import partial  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

from plotfarm import __version__  # noqa: E402
from plotfarm.reports.arguments import Parser  # noqa: E402

if TYPE_CHECKING:
    from plotfarm.base.config.sections import Config

_ABOUT = """\
Without arguments drive_manager.py runs in 'normal' mode: it looks at every plot drive that is mounted
now, chooses the one that the next plots go to, and writes it to plot_manager_config as
current_plotting_drive. It keeps that drive while a plot is arriving there. Every half hour it also reads
the health of the drives (SMART), and it tells you of what you should know. Cron runs it every minute.
"""
_EXAMPLES = """\
examples:
  ./drive_manager.py                      choose the plot drive (normal mode)
  ./drive_manager.py -pr                  how many plots there are, and when the drives are full
  ./drive_manager.py -ct --json           temperatures and health of all drives, as JSON
  ./drive_manager.py -ct --wide           all columns, whatever the width of the terminal
  ./drive_manager.py -off drive6          no more plots to drive6 (also: a mountpoint, device or serial number)
  ./drive_manager.py --status --watch     what is arriving just now, and how fast
  ./drive_manager.py --explain            why each drive is chosen or skipped; changes nothing
  ./drive_manager.py --test_notifications

lines for cron:
  *  *  * * * cd /root/plot_manager && /usr/bin/python3 /root/plot_manager/drive_manager.py
  01 00 * * * cd /root/plot_manager && /usr/bin/python3 /root/plot_manager/drive_manager.py -ud >/dev/null 2>&1
  02 00 * * * cd /root/plot_manager && /usr/bin/python3 /root/plot_manager/drive_manager.py -dr >/dev/null 2>&1

Every script of this host looks at when the others ran last by cron, and an alert tells of one that has stopped. If
this one is not used here any more: intervals = drive_manager: 0 in [watch] of plot_manager_config.

exit status: 0 all is well, 1 something is not (said on stderr and in the log), 2 wrong arguments or configuration
"""
_WITH_JSON = ("explain", "status", "plot_report", "check_temps", "daily_report", "update_daily", "test_notifications")
_WITH_WIDE = ("explain", "status", "plot_report", "check_temps", "daily_report")


def main() -> int:
    """Read the arguments and run the job; returns the exit status."""
    parser, online = new_parser()
    arguments = parser.parse_args()
    if arguments.help:
        return print_help(parser, online, arguments.config)
    if arguments.json and not any(getattr(arguments, report) for report in _WITH_JSON):
        parser.error("--json says how a report is written: give one, such as -pr --json")
    if arguments.wide and not any(getattr(arguments, report) for report in _WITH_WIDE):
        parser.error("--wide says how a report is written: give one, such as -ct --wide")
    if arguments.watch and not arguments.status:
        parser.error("--watch shows the status live: give --status --watch")
    if arguments.html and not arguments.daily_report:
        parser.error("--html says how the daily report is printed: give -dr --html")

    # Only here: help and version work also where the rest does not.
    from plotfarm.jobs import entry

    normal_mode = not any(value for name, value in vars(arguments).items() if name != "config")
    return entry.run("drive_manager", job_for(arguments), arguments.config, unattended=normal_mode)


def new_parser() -> tuple[argparse.ArgumentParser, argparse.Action]:
    """Return the parser, and its option -on, which the help shows only while a drive is offline."""
    parser = Parser("drive_manager.py", _ABOUT, _EXAMPLES, add_help=False)
    add = parser.add_argument
    add("-h", "--help", action="store_true", help="show this text, with the drives that are offline, and exit")
    add("-v", "--version", action="version", version=f"drive_manager.py {__version__}")
    add("--config", metavar="FILE", help="the configuration to use instead of plot_manager_config")
    add("--json", action="store_true", help="with a report: the same facts as JSON")
    add("--wide", action="store_true", help="with a report: all of it, whatever the width of the terminal")
    add("--watch", action="store_true", help="with --status: live, until Ctrl-C")
    add("--html", action="store_true", help="with -dr: print the HTML of the mail")
    add = parser.add_mutually_exclusive_group().add_argument
    add("-dr", "--daily_report", "--drive_report", action="store_true", help="send the daily mail, and print it")
    add("-ct", "--check_temps", action="store_true", help="show temperature and health of every plot drive")
    add("-pr", "--plot_report", action="store_true", help="show how many plots there are, and how many more fit")
    add("-ud", "--update_daily", action="store_true", help="take the daily numbers; cron does it once a day")
    add("-off", "--offline_hdd", metavar="DRIVE", help="send no more plots to a drive, for example drive6")
    online = add("-on", "--online_hdd", metavar="DRIVE", help=argparse.SUPPRESS)
    add("--status", action="store_true", help="show what is arriving just now, what came last, and how fast")
    add("--explain", action="store_true", help="say for each drive why it is chosen or skipped")
    add("--test_notifications", action="store_true", help="send a test by each way that is set up")
    return parser, online


def print_help(parser: argparse.ArgumentParser, online: argparse.Action, config: str | None) -> int:
    """Print the help; it also works where the configuration does not, and then knows of no offline drives."""
    from plotfarm.jobs.offline import offlined_names

    names = offlined_names(config)
    if names:
        online.help = "send plots to a drive again that is offline"
        parser.description = f"{_ABOUT}\nOffline now: {', '.join(names)}\n"
    parser.print_help()
    return 0


def job_for(arguments: argparse.Namespace) -> "Callable[[Config], int]":
    """Return the job that the arguments ask for; only its own modules are imported."""
    as_json = arguments.json
    form = {"as_json": as_json, "wide": arguments.wide}
    if arguments.plot_report or arguments.check_temps or arguments.daily_report or arguments.update_daily:
        from plotfarm.jobs import reports

        if arguments.daily_report:
            return partial(reports.daily_report, as_html=arguments.html, **form)
        if arguments.update_daily:
            return partial(reports.update_daily, as_json=as_json)
        return partial(reports.temperature_report if arguments.check_temps else reports.plot_report, **form)
    if arguments.offline_hdd is not None or arguments.online_hdd is not None:
        from plotfarm.jobs import offline

        if arguments.offline_hdd is not None:
            return partial(offline.take_offline, what=arguments.offline_hdd)
        return partial(offline.bring_online, what=arguments.online_hdd)
    if arguments.status:
        from plotfarm.jobs import status

        return partial(status.of_nas, watch=arguments.watch, **form)
    if arguments.test_notifications:
        from plotfarm.jobs import try_channels

        return partial(try_channels.run, as_json=as_json)
    from plotfarm.jobs import choose_drive

    return partial(choose_drive.explain, **form) if arguments.explain else choose_drive.choose_drive


if __name__ == "__main__":
    sys.exit(main())
