"""What a session with the malicious NAS may lead to, and what must never happen."""

from __future__ import annotations

import json
import random
import select
import shutil
import socket
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from blake3 import blake3

SEGMENT_BYTES = 65536
SIZES = {False: 5 * SEGMENT_BYTES - 1000, True: 40 * SEGMENT_BYTES}
OLD_MTIME_NS = 1_650_000_000_000_000_000
NETCATS = ("nc.openbsd", "nc.traditional")
CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass
class Verdict:
    """What came of one session."""

    seed: int
    seconds: float = 0.0
    ends: list[str] = field(default_factory=list)
    is_removed: bool = False
    wrong: list[str] = field(default_factory=list)


# ---- The plot and its hashes ----


@cache
def content(is_large: bool) -> bytes:
    """Return the plot that travels."""
    return random.Random(SIZES[is_large]).randbytes(SIZES[is_large])


def true_hashes(plot: bytes, segment_bytes: int = SEGMENT_BYTES) -> list[str]:
    """Return the hashes of a plot's segments."""
    return [blake3(plot[begin : begin + segment_bytes]).hexdigest() for begin in range(0, len(plot), segment_bytes)]


# ---- What may happen ----


def may_go(transcript: list[dict[str, Any]], truth: list[str], size: int) -> bool:
    """Tell whether the NAS answered as one that has stored the plot: then it may have lied, and the source may go.

    It said the true hashes as `have`, or as `arrived` and then as `stored` of the arrival that it had announced; and
    then twice the same size and time, the second time not the one that the source had by then.
    """
    arrivals: set[object] = set()
    step = ""
    first: dict[str, Any] = {}
    rest = ""
    for noted in transcript:
        rest += str(noted.get("said", ""))
        *lines, rest = rest.split("\n")
        for line in lines:
            try:
                said = json.loads(line)
                kind = said["type"]
            except (ValueError, RecursionError, TypeError, KeyError):
                continue
            is_true = said.get("segments") == truth
            if kind == "ready":
                arrivals.add(said.get("arrival"))
            elif kind == "have" and is_true:
                step = "stored"
            elif kind == "arrived" and is_true and said.get("size") == size:
                step = "arrived"
            elif kind == "stored" and is_true and step == "arrived" and said.get("arrival") in arrivals:
                step = "stored"
            elif kind == "rechecked" and said.get("size") == size and said.get("mtime_ns") != OLD_MTIME_NS:
                if step == "stored" and said.get("number") == 1:
                    first, step = said, "looked at"
                elif step == "looked at" and said.get("number") == 2 and said["mtime_ns"] == first["mtime_ns"]:
                    return bool(said["mtime_ns"] != noted.get("source_time"))
    return False


def may_happen(event: str, shown: str, plot: str, pipe: str) -> bool:
    match event:
        case "socket.connect":
            return pipe == "direct" and shown.startswith("(('127.0.0.1', ")
        case "subprocess.Popen":
            start = "('setpriv', ['setpriv', '--pdeathsig', 'KILL', '--', '" + str(CHECKOUT / "send_plot.sh")
            return pipe == "netcat" and shown.startswith(start + "', '127.0.0.1', '")
        case "os.remove":
            return Path(plot).name in shown
        case "open":
            return shown.startswith("('/dev/null'")
        case "os.fork":
            return True  # the stream itself, and the NAS
    return False


class Canaries:
    """Services that nobody may connect to: of this host, where a plotter would reach them."""

    def __init__(self) -> None:
        self._sockets = [socket.socket() for _ in range(3)]
        self._sockets[0].bind(("127.0.0.2", 0))
        self.port: int = self._sockets[0].getsockname()[1]
        self._sockets[1].bind(("127.0.0.3", self.port))
        self._sockets[2].bind(("127.0.0.4", self.port))
        for each in self._sockets:
            each.listen()

    def visited(self) -> bool:
        """Tell whether anybody came."""
        return bool(select.select(self._sockets, [], [], 0)[0])


def write_netcat(directory: Path, name: str) -> Path:
    """Write a netcat that notes its arguments in a file and is the real one then."""
    path = directory / name
    path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {directory}/netcat-arguments\nexec {shutil.which(name)} "$@"\n')
    path.chmod(0o755)
    return path


def odd_netcats(directory: Path) -> list[str]:
    """Return the arguments of netcats that were not started as they have to be."""
    notes = directory / "netcat-arguments"
    odd = []
    for line in notes.read_text().splitlines() if notes.exists() else ():
        words = line.split()
        right = [["-h"], ["-n", "-N", "--", "127.0.0.1", words[-1]], ["-n", "-q", "0", "--", "127.0.0.1", words[-1]]]
        if words not in right or (words != ["-h"] and not (words[-1].isdigit() and 1024 <= int(words[-1]) <= 65535)):
            odd.append(line)
    return odd
