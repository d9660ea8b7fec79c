"""kill_nc.sh: ends netcat listeners that this suite started and whose owner is dead, never others."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Sequence

from plotfarm.transfer.netcat import stale_listeners


def main(argv: Sequence[str]) -> int:
    """End them and say which; without any there is nothing to say but that."""
    parser = argparse.ArgumentParser(
        prog="kill_nc.sh",
        description="Ends netcat listeners that this suite started and whose owner is dead. Listeners of running "
        "transfers, and other people's netcat, are left alone.",
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="only say which would be ended")
    arguments = parser.parse_args(argv)
    pids = stale_listeners()
    for pid in pids if not arguments.dry_run else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    done = "would be ended" if arguments.dry_run else "ended"
    print(f"{len(pids)} stale listeners {done}" + (f": {', '.join(map(str, pids))}" if pids else ""))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
