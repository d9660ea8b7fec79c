"""What both kinds of pipe have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from plotfarm.base.errors import TransferFailed

Wait = Callable[[Sequence[int], float], list[int]]  # descriptors and seconds -> those that are ready, or none

TOKEN_SECONDS = 1.0  # the plotter sends it at once


class PipeLost(TransferFailed):
    """The data connection was refused or ended early; the NAS may open another one."""


class Pipe(Protocol):
    """The sending end of a data connection (netcat.NetcatPipe, direct.DirectPipe)."""

    first_pause_seconds: float  # how long to pause when nothing was taken; 0: `put` itself has waited

    def put(self, chunk: memoryview, source: int, offset: int) -> int:
        """Hand over what is taken now of a chunk that lies at `offset` of the file `source`; PipeLost at an end."""

    def write(self, chunk: memoryview) -> int:
        """Hand over what is taken now of a chunk that lies in no file; PipeLost if the connection has ended."""

    def close_input(self) -> None:
        """Say that this was all."""

    def close(self) -> None:
        """End the connection, whatever it is doing."""


class Listener(Protocol):
    """The receiving end before anybody has connected (netcat.NetcatListener, direct.DirectListener)."""

    def accept(self, token: bytes, wait: Wait, deadline: float) -> int | None:
        """Return the connection of who said the token, with that taken off; None if nobody did.

        None also means that nobody can connect to this listener any more. `deadline`: of time.monotonic.
        """

    def turned_away(self) -> str:
        """Return who was turned away, for the log; "" if nobody was."""

    def close(self) -> None:
        """End it, and the connection that it accepted."""
