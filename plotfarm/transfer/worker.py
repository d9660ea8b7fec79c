"""A forked child that does what may block for ever on a drive, so that its parent never does.

A drive that dies can hold a process in the kernel where not even SIGKILL ends it. The child is that
process. It holds the drive's lock as long as it exists, so nobody else writes there; and once it is
killed it never runs another line of its own, so it cannot publish anything later.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import socket
from collections.abc import Callable, Collection
from typing import Any

from plotfarm.base import kernel
from plotfarm.base.checkpoints import STOP_AT
from plotfarm.base.errors import PlotfarmError, TransferFailed

_LOG = logging.getLogger(__name__)
_LONGEST_MESSAGE = 1024 * 1024
_TIDY_SECONDS = 3.0
_KILL_SECONDS = 1.0


class Untidy(PlotfarmError):
    """The child could not remove what it left unfinished."""


class PartKept(TransferFailed):
    """The child failed, and left on purpose what another try can go on with."""


class Endpoint:
    """One end of the socket between parent and child: JSON messages, and now and then a descriptor."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST_MESSAGE)

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._socket.fileno()

    def send(self, kind: str, descriptor: int | None = None, **fields: Any) -> None:
        """Send one message, with a descriptor of this process if one is given; OSError if the other end is gone."""
        data = json.dumps({"type": kind, **fields}).encode()
        if descriptor is None:
            self._socket.send(data)
        else:
            socket.send_fds(self._socket, [data], [descriptor])

    def receive(self) -> tuple[dict[str, Any], int | None]:
        """Wait for one message; EOFError if the other end is gone."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, _LONGEST_MESSAGE, 1)
        except ConnectionError:
            data, descriptors = b"", []
        if not data:
            raise EOFError
        return json.loads(data), (descriptors[0] if descriptors else None)

    def reached(self, state: str) -> None:
        """Tell the parent that a named state is reached, and stop there if the environment asks for it."""
        self.send("state", state=state)
        if os.environ.get(STOP_AT) == state:
            os.kill(os.getpid(), signal.SIGSTOP)

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


class Worker:
    """The parent's side of a child that runs `body`."""

    def __init__(self, body: Callable[[Endpoint], None], keep: Collection[int] = ()) -> None:
        """Fork; the child keeps open only its socket and the descriptors in `keep`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _live_as_child(parent, body, theirs, {theirs.fileno(), *keep})
        theirs.close()
        self.endpoint = Endpoint(ours)

    def hear(self, gone: str = "the process that writes to the drive was ended from outside") -> dict[str, Any]:
        """Return the child's next message; TransferFailed if it failed, or is `gone`. States go to the log."""
        try:
            message, _ = self.endpoint.receive()
        except EOFError:
            raise TransferFailed(gone) from None
        if message["type"] == "failed":
            raise TransferFailed(message["reason"])
        if message["type"] == "state":
            _LOG.debug("State: %s", message["state"])
        return message

    def end(self) -> bool:
        """End the child, and tell whether it tidied up behind itself.

        It notices at its next word that nobody listens, and removes what it left unfinished. If it takes too long it
        is killed; one that hangs in the kernel, where not even that helps, is left to init.
        """
        self.endpoint.close()
        descriptor = os.pidfd_open(self.pid)
        try:
            if not select.select([descriptor], [], [], _TIDY_SECONDS)[0]:
                os.kill(self.pid, signal.SIGKILL)
            if select.select([descriptor], [], [], _KILL_SECONDS)[0]:
                return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]) == 0
            _LOG.error("A process that works on a drive cannot be ended (pid %d): the drive hangs", self.pid)
            return False
        finally:
            os.close(descriptor)


def _live_as_child(parent: int, body: Callable[[Endpoint], None], theirs: socket.socket, keep: Collection[int]) -> None:
    """Run `body` and end the process, whatever happens; never returns into the parent's code.

    The exit status is 0 if `body` left nothing unfinished.
    """
    status = 1
    try:
        kernel.die_with_parent(parent)
        _let_go_of_the_rest(keep)
        endpoint = Endpoint(theirs)
        reason = ""
        try:
            body(endpoint)
            status = 0
        except EOFError:
            status = 0  # the parent has given up
        except (Untidy, PartKept) as error:
            reason = str(error)
        except PlotfarmError as error:
            status, reason = 0, str(error)
        except OSError as error:
            status, reason = 0, error.strerror or str(error)
        except Exception as error:
            reason = f"unexpected {type(error).__name__}: {error}"
        if reason:
            with contextlib.suppress(OSError):  # nobody may be listening any more
                endpoint.send("failed", reason=reason)
    finally:
        os._exit(status)


def _let_go_of_the_rest(keep: Collection[int]) -> None:
    # Each goes to /dev/null rather than being closed: an inherited log handler that still writes to its number
    # must never find a plot there.
    logging.disable(logging.CRITICAL)
    nothing = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number not in keep and number != nothing:
            with contextlib.suppress(OSError):
                os.dup2(nothing, number, inheritable=False)
