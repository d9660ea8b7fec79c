#!/usr/bin/env python3
"""Move plots that were made on this NAS to its drives: started by cron every few minutes, or by hand."""

from plotfarm.base.venv import hand_over

hand_over()

import functools  # noqa: E402
import sys  # noqa: E402

from plotfarm import __version__  # noqa: E402
from plotfarm.reports.arguments import Parser  # noqa: E402

_DESCRIPTION = """\
Moves every finished plot in [local_plots] plot_directories to the plot drives of this NAS, several at once, each to
a drive of its own: hashed while it is copied, published under its name only when it is whole and on the drive.
Only then the source is removed. On the same file system a plot only gets another name. If plots are being moved
already, nothing happens."""

_EXAMPLES = """\
examples:
  move_local_plots.py                   move what is finished (the cron line)
  move_local_plots.py --dry-run         say what would be moved where, and move nothing
  move_local_plots.py --config /etc/plot_manager/plot_manager_config

cron line, every 5 minutes:
  */5 * * * * cd /root/plot_manager && /usr/bin/python3 /root/plot_manager/move_local_plots.py

Every script of this host looks at when the others ran last by cron, and an alert tells of one that has stopped. If
this one is not used here any more: intervals = move_local_plots: 0 in [watch] of plot_manager_config.

exit status: 0 all went well or there was nothing to do, 1 something failed (it is tried again at the next
run), 2 the configuration is wrong"""


def main() -> int:
    """Read the command line and move."""
    parser = Parser("move_local_plots.py", _DESCRIPTION, _EXAMPLES)
    parser.add_argument("-v", "--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would be moved where, and move nothing")
    parser.add_argument("--json", action="store_true", help="with --dry-run: the same facts as JSON")
    parser.add_argument("--config", metavar="FILE", help="the configuration to use")
    arguments = parser.parse_args()
    if arguments.json and not arguments.dry_run:
        parser.error("--json says how a dry run is reported: give --dry-run --json")

    from plotfarm.jobs import entry, move_plots

    job = functools.partial(move_plots.run, dry_run=arguments.dry_run, as_json=arguments.json)
    demands = ["local_plots.plot_directories"]
    unattended = not arguments.dry_run
    return entry.run("move_local_plots", job, arguments.config, demands, unattended=unattended)


if __name__ == "__main__":
    sys.exit(main())
