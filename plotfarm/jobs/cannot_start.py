"""Tells that a script cannot start because `.venv` does not fit: started in the background by plotfarm/base/venv.py.

It runs with whatever packages still import, and needs none: mails go through the standard library, and so do the
services that plotfarm/notify/channels/bare.py knows.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from plotfarm.jobs import refusals


def config_of(arguments: Sequence[str]) -> str | None:
    """Return what follows --config in the arguments of a script, or None."""
    for number, argument in enumerate(arguments):
        if argument.startswith("--config="):
            return argument.partition("=")[2]
        if argument == "--config" and number + 1 < len(arguments):
            return arguments[number + 1]
    return None


def main(argv: Sequence[str]) -> int:
    """Tell; `argv`: the script's name, why it cannot start, and its own arguments."""
    script, why, *arguments = argv
    refusals.tell_of_packages(script.removesuffix(".py"), why, config_of(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
