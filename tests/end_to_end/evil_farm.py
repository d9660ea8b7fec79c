"""A farm whose NAS is the malicious one of evil_nas.py, behind the real sshd; the plotter's side is all real."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil
from evil_judge import (
    OLD_MTIME_NS,
    SEGMENT_BYTES,
    Canaries,
    content,
    may_go,
    odd_netcats,
    true_hashes,
    write_netcat,
)
from farm_help import processes_of, wait_for

from testbed.farm import Farm
from testbed.plots import v1_name

LIMITS = {"transfer.beat_seconds": 0.2, "transfer.silence_seconds": 1.5, "transfer.stall_seconds": 1}
_ENVIRONMENT = {"PLOT_MANAGER_SEGMENT_BYTES": str(SEGMENT_BYTES)}
_BAD_SIGNS = ("Traceback", "Unexpected", "unexpected ", "ended from outside")


@dataclass(frozen=True)
class Usage:
    """What a run took."""

    status: int
    output: str
    most_bytes_on_disk: int  # in the plotter's directories, and in files that have no name any more
    most_memory_bytes: int  # of one process


class EvilFarm:
    """A plotter with some equal plots of an unknown format, and a NAS that does what its plans say."""

    def __init__(self, root: Path, plots: int = 1, *, pipe: str = "direct", netcat: str = "nc.openbsd") -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        settings = {
            **{**LIMITS, "transfer.pipe": pipe, "transfer.netcat": write_netcat(root, netcat)},
            **{"plotter.streams": plots, "nas.streams": plots},
        }
        self._farm = Farm(root / "farm", plotter_settings=settings)
        self._count, self._made, self._sent = plots, 0, set[str]()
        self._notes = root / "notes"
        self._notes.mkdir()
        self._content = content(False)
        self._canaries = Canaries()

    def __enter__(self) -> EvilFarm:
        self._farm.__enter__()
        exports = {"EVIL_PLANS": self.root / "plans", "EVIL_NOTES": self._notes}
        words = [f"export {name}={shlex.quote(str(path))}" for name, path in exports.items()]
        nas = Path(__file__).with_name("evil_nas.py")
        command = self._farm.root / "receive_plot.sh"
        command.write_text("\n".join(["#!/bin/sh", *words, f'exec {sys.executable} {nas} "$@"']) + "\n")
        self.top_up()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._farm.__exit__(*exception)

    def behave(self, *plans: Mapping[str, Any]) -> None:
        """Have each session take the next of these plans."""
        known = {
            "truth": true_hashes(self._content),
            "known": {"$CANARY_PORT": self._canaries.port},
            "source": str(self._farm.plots),
        }
        lines = [json.dumps({"longest": 20, **plan, **known}) for plan in plans]
        (self.root / "plans").write_text("\n".join(lines) + "\n")

    def top_up(self) -> None:
        """Have as many plots wait as at the beginning."""
        while len(self.waiting()) < self._count:
            self._made += 1
            path = self._farm.plots / v1_name(f"evil {self._made}", 32)
            path.write_bytes(self._content)
            os.utime(path, ns=(OLD_MTIME_NS, OLD_MTIME_NS))

    def waiting(self) -> list[Path]:
        """Return the plots that are there."""
        return sorted(self._farm.plots.iterdir())

    def sessions(self) -> int:
        """Return how many sessions there were."""
        place = self._notes / "next"
        return len(place.read_text()) if place.exists() else 0

    def run(self, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run plot_manager.py to its end."""
        return self._farm.plot_manager(environment={**_ENVIRONMENT, **(environment or {})})

    def start(self, output: int | IO[str]) -> subprocess.Popen[str]:
        """Start plot_manager.py."""
        return self._farm.start_plot_manager(environment=_ENVIRONMENT, output=output)

    def run_watched(self) -> Usage:
        """Run plot_manager.py and look all the time at what it takes of the disk and of the memory."""
        output = self.root / "output"
        most_bytes = most_memory = 0
        with open(output, "w") as file:
            run = self.start(file)
            while run.poll() is None:
                mine = [psutil.Process(run.pid), *_children(run.pid)]
                most_bytes = max(most_bytes, _bytes_below(self._farm.plotter.directory) + _bytes_without_name(mine))
                most_memory = max([most_memory, *(_memory(each) for each in mine)])
                time.sleep(0.02)
        return Usage(run.returncode, output.read_text(), most_bytes, most_memory)

    def netcat_arguments(self) -> str:
        """Return the arguments of every netcat that was started."""
        notes = self.root / "netcat-arguments"
        return notes.read_text() if notes.exists() else ""

    def told(self) -> str:
        """Return all texts that wait to be sent to the owner."""
        texts = []
        for path in self._farm.plotter.state.glob("*.sqlite*"):
            with contextlib.suppress(sqlite3.DatabaseError), sqlite3.connect(path) as database:
                for line in database.iterdump():
                    texts.append(line)
        return "\n".join(texts)

    def judge(self, output: str) -> None:
        """Judge what was said, what is left, and who was visited."""
        log = self._farm.plotter.log_text()
        for text in (output, log):
            assert not any(sign in text for sign in _BAD_SIGNS), text[-3000:]
            odd = [line for line in text.splitlines() if not line.isprintable() or line.startswith("forged")]
            assert odd == []
        wait_for(lambda: not processes_of(self._farm), f"the end of {processes_of(self._farm)}", 15)
        assert odd_netcats(self.root) == []
        assert not self._canaries.visited()
        self._judge_plots()

    def _judge_plots(self) -> None:
        there = {path.name for path in self.waiting()}
        for path in self.waiting():
            assert path.read_bytes() == self._content
            assert os.stat(path).st_mtime_ns == OLD_MTIME_NS
        gone = {v1_name(f"evil {number}", 32) for number in range(1, self._made + 1)} - there - self._sent
        for name in gone:
            assert any(may_go(each, true_hashes(self._content), len(self._content)) for each in self._transcripts(name))
        self._sent |= gone

    def _transcripts(self, name: str) -> list[list[dict[str, Any]]]:
        """Return what was said in the sessions that were about a plot."""
        found = []
        for path in self._notes.glob("session-*"):
            noted = [json.loads(line) for line in path.read_text().splitlines()]
            begins = [n for n, each in enumerate(noted) if each.get("heard", {}).get("type") == "offer"]
            for begin, end in zip(begins, [*begins[1:], len(noted)], strict=False):
                if noted[begin]["heard"]["name"] == name:
                    found.append(noted[begin:end])
        return found


def _children(pid: int) -> list[psutil.Process]:
    try:
        return [each for each in psutil.Process(pid).children(recursive=True) if each.name() != "ssh"]
    except psutil.Error:
        return []


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _bytes_below(directory: Path) -> int:
    sizes = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            sizes += path.stat().st_size if path.is_file() else 0
    return sizes


def _bytes_without_name(processes: list[psutil.Process]) -> int:
    """Return the bytes of the files that these processes have open and that were unlinked."""
    sizes = 0
    for process in processes:
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{process.pid}/fd"):
                with contextlib.suppress(OSError):
                    status = os.stat(entry.path)
                    sizes += status.st_size if not status.st_nlink else 0
    return sizes
