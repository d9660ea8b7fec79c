"""Somebody who has stolen the restricted key of one plotter, and what he takes: memory, processes, room, files."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import psutil
from fake_sender import FakeSender, Message, receivers

from testbed.farm import Farm
from testbed.plots import v1_name
from testbed.sshd import public_half

NAME = "evil"
ADDRESS = "127.0.0.2"
SEGMENT_BYTES = 256 * 1024
SHORT_SEGMENTS = {"PLOT_MANAGER_SEGMENT_BYTES": str(SEGMENT_BYTES)}
LEAST_KEPT_BYTES = 4 * SEGMENT_BYTES  # what is shorter is not worth going on with
MIB = 2**20
START_SECONDS = 5.0  # in less a receiver finds out on a busy machine that its plotter has too many already


def steal_key(farm: Farm, name: str = NAME) -> Path:
    """Return the private key of a plotter of this name, restricted as the README says."""
    key = farm.sshd.make_key(f"key_of_{name}")
    command = f"{farm.root / 'receive_plot.sh'} --plotter {name}"
    with open(farm.sshd.directory / "authorized_keys", "a") as authorized:
        authorized.write(f'restrict,command="{command}" {public_half(key)}\n')
    return key


def shorten_segments(farm: Farm) -> None:
    """Let small plots have many segments at the NAS; a plotter needs SHORT_SEGMENTS in its environment."""
    farm.set_nas_environment(SHORT_SEGMENTS)


def content(seed: int, size: int) -> bytes:
    """Return the bytes of a plot with an unknown header."""
    return b"\x07" + seed.to_bytes(8, "big") + bytes(size - 9)


def name(seed: str) -> str:
    """Return a plot's name."""
    return v1_name(f"evil {seed}", k=32)


class EvilPlotter:
    """Opens sessions with the stolen key, from an address of his own."""

    def __init__(self, farm: Farm, key: Path, address: str = ADDRESS) -> None:
        self.farm = farm
        self._key = key
        self._address = address

    def session(self, hello: Message | bytes | None = b"") -> FakeSender:
        """Open one more session."""
        return FakeSender(self.farm, hello=hello, key=self._key, address=self._address)

    def leave_part(self, plot: str, whole: bytes, sent_bytes: int, **offered: object) -> Message | None:
        """Offer a plot, send only its beginning, and go; returns the last answer."""
        with self.session() as sender:
            answer = sender.offer(plot, len(whole), **offered)
            if answer is not None and answer["type"] == "partial":
                sender.say(type="continue", segments=len(answer["segments"]))
                answer = sender.hear()
            if answer is None or answer["type"] != "ready":
                return answer
            begin = answer["segments"] * SEGMENT_BYTES
            sender.pour(answer, whole[begin:sent_bytes])
            sender.say(type="lost", attempt=answer["attempt"], detail="on purpose")
            return sender.hear()


# ---- What it costs ----


def room_taken(farm: Farm, drives: Iterable[Path] = ()) -> int:
    """Return how many bytes all files on the drives take."""
    directories = list(drives) or farm.drives
    taken = 0
    for directory in directories:
        for path in directory.iterdir():
            with contextlib.suppress(FileNotFoundError):
                taken += os.stat(path).st_blocks * 512
    return taken


def system_disk_bytes(farm: Farm) -> int:
    """Return how many bytes the NAS keeps of its own: state, logs and locks."""
    taken = 0
    for directory in (farm.nas.state, farm.nas.logs, farm.nas.locks):
        for path in directory.glob("*"):
            with contextlib.suppress(FileNotFoundError):
                taken += path.stat().st_size
    return taken


class Watcher(threading.Thread):
    """Looks at the receivers of a farm all the time: the most memory that one has had, and the most that stay at once.

    A session that is turned away has to start first, to find out: it counts when it has lived on for a while.

    With `quota_bytes` also at the drives: `most_room_bytes` is the most that names with `mark` have taken there.
    """

    def __init__(self, farm: Farm, mark: str = "") -> None:
        super().__init__(daemon=True)
        self._farm = farm
        self._mark = mark
        self._stop_asked = threading.Event()
        self.most_memory_bytes = 0
        self.most_sessions = 0
        self.most_room_bytes = 0

    def run(self) -> None:
        """Look until `stop`."""
        while not self._stop_asked.wait(0.05):
            found = receivers(self._farm)
            own = {process.pid for process in found}
            with contextlib.suppress(psutil.Error):
                born = time.time() - START_SECONDS
                sessions = [each for each in found if each.ppid() not in own and each.create_time() < born]
                self.most_sessions = max(self.most_sessions, len(sessions))
            for process in found:
                self.most_memory_bytes = max(self.most_memory_bytes, peak_memory(process.pid))

    def __enter__(self) -> Watcher:
        self.start()
        return self

    def __exit__(self, *ignored: object) -> None:
        self._stop_asked.set()
        self.join()


def peak_memory(pid: int) -> int:
    """Return the most bytes that a process has had in memory of its own until now, 0 if it is gone.

    VmHWM counts the pages that it shares with others too.
    """
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def flood(sender: FakeSender, line: bytes, limit_bytes: int, limit_seconds: float) -> int:
    """Say a line again and again until the NAS has had enough; returns how many bytes it has taken."""
    words = line * (65536 // len(line) + 1)
    deadline = time.monotonic() + limit_seconds
    taken = 0
    while taken < limit_bytes and time.monotonic() < deadline and not sender.is_over():
        taken += sender.say_raw(words)
    return taken
