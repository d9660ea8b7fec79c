"""Looks at a farm from outside and says what must not be: shares no code with what it judges, nor with the test bed.

Beforehand: `auditor.py manifest PLOT_DIRECTORY > manifest`. After the fault:
`auditor.py audit --manifest manifest --source PLOT_DIRECTORY --drive DRIVE ... --locks DIRECTORY ...`
prints every violation, and ends with status 1 if there is one.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Manifest = Mapping[str, tuple[str, int]]  # file name -> SHA-256 and size in bytes
_LISTENING = "0A"  # the state in /proc/net/tcp
_PART = re.compile(r"(.*?)(\.[0-9a-f]{16})?\.part")  # NAME.part, or NAME.<arrival>.part


@dataclass(frozen=True)
class Scope:
    """Where to look, and what is known to be all right."""

    sources: Sequence[Path]
    drives: Sequence[Path]
    locks: Sequence[Path] = ()
    marker: str = ""  # whatever runs with this in its command line or environment belongs to the farm
    ports: range = range(0)  # nobody may listen there
    spared: Collection[int] = ()  # processes that belong to the farm and stay, such as its sshd
    known_files: Collection[str] = field(default=(".plot_drive", "lost+found"))
    spoilt: Collection[Path] = ()  # files on drives that the test itself has damaged: never a whole copy


def manifest(paths: Iterable[Path]) -> dict[str, tuple[str, int]]:
    """Note what there is before anything happens to it."""
    return {path.name: (_sha256(path), path.stat().st_size) for path in paths}


def audit(noted: Manifest, scope: Scope, *, finished: bool = False) -> list[str]:
    """Return the violations that the files show; `finished`: every plot must have arrived, and no `.part` is left."""
    stored = [path for drive in scope.drives for path in _files(drive, scope.known_files)]
    whole = [path for path in stored if path.suffix != ".part"]
    parts = [path for path in stored if path.suffix == ".part"]
    whole = [path for path in whole if path not in scope.spoilt]
    found = [*_unequal(noted, whole), *_twice(whole), *_lost(noted, whole, scope.sources), *_too_long(noted, parts)]
    if finished:
        found += [f"left behind: {path}" for path in parts]
        arrived = {path.name for path in whole}
        found += [f"never arrived: {name}" for name in noted if name not in arrived]
        found += [f"still at its source: {name}" for name in noted if _at(name, scope.sources)]
    return found


def _unequal(noted: Manifest, whole: Sequence[Path]) -> list[str]:
    found = []
    for path in whole:
        if path.name not in noted:
            found.append(f"under a final name, and not a plot that was sent: {path}")
        elif noted[path.name] != (_sha256(path), path.stat().st_size):
            found.append(f"under its final name, and not whole and equal: {path}")
    return found


def _twice(whole: Sequence[Path]) -> list[str]:
    names = [path.name for path in whole]
    return [f"stored twice: {name}" for name in sorted(set(names)) if names.count(name) > 1]


def _lost(noted: Manifest, whole: Sequence[Path], sources: Sequence[Path]) -> list[str]:
    found = []
    for name, (digest, size) in noted.items():
        copies = [path for path in (*whole, *_at(name, sources)) if path.name == name]
        if not any((_sha256(path), path.stat().st_size) == (digest, size) for path in copies):
            found.append(f"LOST, its source is gone and no equal copy is stored: {name}")
    return found


def _too_long(noted: Manifest, parts: Sequence[Path]) -> list[str]:
    found = []
    for part in parts:
        fits = _PART.fullmatch(part.name)
        name = fits[1] if fits else part.name
        if name not in noted:
            found.append(f"unfinished, and not a plot that was sent: {part}")
        elif part.stat().st_size > noted[name][1]:
            found.append(f"longer than was offered: {part}")
    return found


def _at(name: str, directories: Sequence[Path]) -> list[Path]:
    return [directory / name for directory in directories if (directory / name).is_file()]


def _files(directory: Path, known: Collection[str]) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.name not in known) if directory.is_dir() else []


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- What may still run, listen or hold a lock ----


def still_busy(scope: Scope) -> list[str]:
    """Return the processes, listeners and locks that a farm at rest must not have."""
    return [
        *(f"still runs: {pid} {words}" for pid, words in processes(scope).items()),
        *(f"still listens: port {port}" for port in listening() if port in scope.ports),
        *(f"still held: {path}" for directory in scope.locks for path in held_locks(directory)),
    ]


def processes(scope: Scope) -> dict[int, str]:
    """Return pid -> command line of the farm's processes: by the marker, or descended from a spared one."""
    parents = {pid: parent for pid in _pids() if (parent := _parent(pid)) is not None}
    found = {}
    for pid in parents:
        if pid in scope.spared or pid == os.getpid():
            continue
        words, environment = _read(pid, "cmdline"), _read(pid, "environ")
        mentioned = scope.marker != "" and (scope.marker in words or scope.marker in environment)
        if mentioned or _descends(pid, scope.spared, parents):
            found[pid] = words.replace("\0", " ").strip()
    return found


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _parent(pid: int) -> int | None:
    """Return a process's parent; None if it is gone, or a zombie that only waits to be reaped."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return int(fields[1]) if fields and fields[0] not in "ZX" else None


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _descends(pid: int, ancestors: Collection[int], parents: Mapping[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid in ancestors:
            return True
    return False


def listening() -> set[int]:
    """Return every TCP port that somebody listens on in this network namespace."""
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def held_locks(directory: Path) -> list[Path]:
    """Return the lock files in `directory` that somebody holds."""
    held = []
    for path in sorted(directory.glob("*.lock")):
        with open(path, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(path)
    return held


def main(argv: Sequence[str]) -> int:
    """Note or audit, as told by the command line."""
    parser = argparse.ArgumentParser(prog="auditor.py", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    note = commands.add_parser("manifest", help="print what lies in a plot directory")
    note.add_argument("directory", type=Path)
    note.set_defaults(job=_print_manifest)
    look = commands.add_parser("audit", help="print every violation")
    look.add_argument("--manifest", type=Path, required=True)
    for name in ("source", "drive", "locks"):
        look.add_argument(f"--{name}", type=Path, action="append", default=[])
    look.add_argument("--marker", default="")
    look.add_argument("--finished", action="store_true")
    look.set_defaults(job=_print_violations)
    arguments = parser.parse_args(argv)
    status: int = arguments.job(arguments)
    return status


def _print_manifest(arguments: argparse.Namespace) -> int:
    print(json.dumps(manifest(path for path in sorted(arguments.directory.iterdir()) if path.is_file()), indent=2))
    return 0


def _print_violations(arguments: argparse.Namespace) -> int:
    noted = {name: (digest, size) for name, (digest, size) in json.loads(arguments.manifest.read_text()).items()}
    scope = Scope(arguments.source, arguments.drive, arguments.locks, arguments.marker)
    found = [*audit(noted, scope, finished=arguments.finished), *still_busy(scope)]
    print("\n".join(found) or "nothing is wrong")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
