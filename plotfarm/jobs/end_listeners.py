"""kill_nc.sh: ends netcat listeners that this suite started and whose owner is dead, never others."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence

from plotfarm.reports.arguments import Parser
from plotfarm.reports.envelope import Report, Role, Sender, enveloped
from plotfarm.reports.terminal import say, standard_output
from plotfarm.transfer.netcat import stale_listeners


def main(argv: Sequence[str]) -> int:
    """End them and say which; without any there is nothing to say but that."""
    parser = Parser(
        "kill_nc.sh",
        "Ends netcat listeners that this suite started and whose owner is dead. Listeners of running "
        "transfers, and other people's netcat, are left alone.",
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="only say which would be ended")
    parser.add_argument("--json", action="store_true", help="say it as JSON")
    arguments = parser.parse_args(argv)
    pids = stale_listeners()
    for pid in pids if not arguments.dry_run else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    done = "would be ended" if arguments.dry_run else "ended"
    if arguments.json:
        data: dict[str, object] = {"pids": pids, "ended": not arguments.dry_run}
        say(enveloped(Report.LISTENERS, Sender(socket.gethostname(), Role.NAS), data, time.time()))
        return 0
    which = f": {', '.join(map(str, pids))}" if pids else ""
    say("\n".join(standard_output().lines(f"{len(pids)} stale listeners {done}{which}")))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
