"""The command line of every script: its help fits the terminal, and may be read by `| head`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from plotfarm.reports.terminal import complain, prepare, say, standard_output


class Parser(argparse.ArgumentParser):
    """Reads arguments; what it prints goes the way of everything else that a script prints."""

    def __init__(self, prog: str, description: str, epilog: str = "", **options: Any) -> None:
        prepare()
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **options,
        )

    def _print_message(self, message: str, file: Any = None) -> None:
        if not message:
            return
        if file is sys.stdout:
            say("\n".join(standard_output().folded(message.rstrip("\n"))))
        else:
            complain(message.rstrip("\n"))
