#!/usr/bin/env python3
"""Send finished plots from this plotter to a NAS: started by cron every few minutes, or by hand."""

from plotfarm.base.venv import hand_over

hand_over()

import functools  # noqa: E402
import sys  # noqa: E402

from plotfarm import __version__  # noqa: E402
from plotfarm.reports.arguments import Parser  # noqa: E402

_DESCRIPTION = """\
Sends every finished plot in the plot directories to a NAS, several at once: through ssh-launched pipes, hashed
at both ends, published under its name only when it is whole and on the drive. Only then the source is removed.
If a transfer is already running, nothing happens: that run also sends what finishes meanwhile."""

_EXAMPLES = """\
examples:
  plot_manager.py                       send what is finished (the cron line)
  plot_manager.py --status --watch      what is on its way just now
  plot_manager.py --dry-run             say what would be sent where, and send nothing
  plot_manager.py --let-go root@nas1    nas1 stays away: plots that it may have already go to others
  plot_manager.py --config /etc/plot_manager/plot_manager_config

cron line, every 5 minutes:
  */5 * * * * cd /home/chia/plot_manager && /usr/bin/python3 /home/chia/plot_manager/plot_manager.py

Every script of this host looks at when the others ran last by cron, and an alert tells of one that has stopped. If
this one is not used here any more: intervals = plot_manager: 0 in [watch] of plot_manager_config.

exit status: 0 all went well or there was nothing to do, 1 something failed (it is tried again at the next
run), 2 the configuration is wrong"""


def main() -> int:
    """Read the command line and send."""
    parser = Parser("plot_manager.py", _DESCRIPTION, _EXAMPLES)
    parser.add_argument("-v", "--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would be sent where, and send nothing")
    parser.add_argument("--status", action="store_true", help="show what is on its way, what waits, and the last ones")
    parser.add_argument("--watch", action="store_true", help="with --status: live, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="with --status or --dry-run: the same facts as JSON")
    parser.add_argument("--wide", action="store_true", help="with --status: all of it in one line each")
    parser.add_argument("--let-go", metavar="NAS", help="let plots that this NAS may have already go to others")
    parser.add_argument("--config", metavar="FILE", help="the configuration to use")
    arguments = parser.parse_args()
    if (arguments.watch or arguments.wide) and not arguments.status:
        parser.error("--watch and --wide say how the status is shown: give --status")
    if arguments.json and not (arguments.status or arguments.dry_run):
        parser.error("--json says how a report is written: give --status or --dry-run")

    from plotfarm.jobs import entry

    if arguments.status:
        from plotfarm.jobs import status

        form = {"as_json": arguments.json, "watch": arguments.watch, "wide": arguments.wide}
        show = functools.partial(status.of_plotter, **form)
        return entry.run("plot_manager", show, arguments.config, tells=False)

    from plotfarm.jobs import send_plots

    if arguments.let_go:
        release = functools.partial(send_plots.let_go, host=arguments.let_go)
        return entry.run("plot_manager", release, arguments.config, tells=False)

    job = functools.partial(send_plots.run, dry_run=arguments.dry_run, as_json=arguments.json)
    unattended = not arguments.dry_run
    return entry.run("plot_manager", job, arguments.config, demands=["nas.hosts"], unattended=unattended)


if __name__ == "__main__":
    sys.exit(main())
