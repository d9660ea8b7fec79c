"""A forked child that does what may block for ever on a drive, so that its parent never does.

A drive that dies can hold a process in the kernel where not even SIGKILL ends it. The child is that process. It holds
the drive's lock and the part's as long as it exists, so nobody else writes there; and once it is killed it never runs
another line of its own, so it cannot publish anything later.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import select
import signal
import socket
from collections.abc import Callable, Collection
from typing import Any

from plotfarm.base import kernel

_LOG = logging.getLogger(__name__)
_LONGEST_MESSAGE = 2 * 1024 * 1024
_END_SECONDS = 3.0
_KILL_SECONDS = 1.0


class WorkerGone(Exception):
    """The other process has ended, or was ended."""


class _Noted:
    """What the other process was to note is noted."""


class Endpoint:
    """One end of the socket between parent and child: Python values, and now and then a descriptor.

    Both ends are one program that has forked, so values are pickled; nothing from outside is.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST_MESSAGE)

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._socket.fileno()

    def send(self, value: object, descriptor: int | None = None) -> None:
        """Send a value, with a descriptor of this process if one is given; WorkerGone if the other end is gone."""
        data = pickle.dumps(value)
        try:
            if descriptor is None:
                self._socket.send(data)
            else:
                socket.send_fds(self._socket, [data], [descriptor])
        except OSError:
            raise WorkerGone from None

    def receive(self) -> tuple[Any, int | None]:
        """Wait for a value, and the descriptor that came with it; WorkerGone if the other end is gone."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, _LONGEST_MESSAGE, 1)
        except OSError:
            raise WorkerGone from None
        if not data:
            raise WorkerGone
        return pickle.loads(data), (descriptors[0] if descriptors else None)  # noqa: S301 - from our own fork

    def have_noted(self, value: object) -> None:
        """Send what the other process is to note, and wait until it says `noted`; WorkerGone if it is gone."""
        self.send(value)
        answer, _ = self.receive()
        assert isinstance(answer, _Noted)

    def noted(self) -> None:
        """Say that what the other process wanted noted is; that it is gone is for `receive` to tell."""
        with contextlib.suppress(WorkerGone):
            self.send(_Noted())

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

    def let_go(self) -> None:
        """Have the child notice that nobody listens any more; `end` waits until it has ended."""
        self.endpoint.close()

    def end(self) -> None:
        """End the child.

        It notices that nobody listens any more. If that takes too long it is killed; one that hangs in the kernel,
        where not even that helps, is left to init, with the locks that it holds.
        """
        self.let_go()
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if not select.select([descriptor], [], [], _END_SECONDS)[0]:
                os.kill(self.pid, signal.SIGKILL)
            if select.select([descriptor], [], [], _KILL_SECONDS)[0]:
                os.waitpid(self.pid, 0)
            else:
                _LOG.error("A process that works on a drive cannot be ended (pid %d): the drive hangs", self.pid)
        finally:
            os.close(descriptor)


def _live_as_child(parent: int, body: Callable[[Endpoint], None], theirs: socket.socket, keep: Collection[int]) -> None:
    """Run `body` and end the process, whatever happens; never returns into the parent's code."""
    status = 1
    try:
        kernel.die_with_parent(parent)
        # A lease that somebody wants to break is no reason to end: it is looked at when it matters.
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        _let_go_of_the_rest(keep)
        with contextlib.suppress(WorkerGone):  # the parent has given up
            body(Endpoint(theirs))
        status = 0
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
