"""Why no plot drive was found: every mounted file system, and what each of them does not fit."""

from __future__ import annotations

from collections.abc import Sequence

from plotfarm.drives.candidates import MountedFileSystem, Unmet
from plotfarm.plots.names import escaped
from plotfarm.reports import frame
from plotfarm.reports.frame import Remark
from plotfarm.reports.reasons import NO_DRIVES
from plotfarm.reports.tables import Cell, Column, table
from plotfarm.reports.terminal import Terminal

_WIDEST_SENTENCE = 120  # cells
_COLUMNS = (Column("MOUNTPOINT"), Column("DEVICE", rank=1), Column("TYPE", rank=2), Column("NO PLOT DRIVE BECAUSE"))


def as_text(found: Sequence[MountedFileSystem], config: str, terminal: Terminal) -> str:
    """Return that there is no drive, which configuration said so, and what each file system does not fit."""
    lines = terminal.lines(NO_DRIVES)
    if config:
        lines += terminal.lines(f"The configuration that was read: {escaped(config)}")
    disks = [one for one in found if one.unmet is not Unmet.NO_DISK]
    if disks:
        drawn = table(_COLUMNS, [_cells(one) for one in disks], terminal)
        cut = [Remark(f"{escaped(disks[one.row].mountpoint)}:", one.text) for one in drawn.shortened]
        left_out = [Remark("-", drawn.remark)] if drawn.remark else []
        lines += ["", *drawn.lines, *frame.remarks([*cut, *left_out], _WIDEST_SENTENCE, terminal)]
    others = [f"{escaped(one.mountpoint)} ({escaped(one.file_system)})" for one in found if one not in disks]
    if others:
        lines += ["", *terminal.lines(f"Mounted, but on no disk: {', '.join(others)}", limit=_WIDEST_SENTENCE)]
    return "\n".join(lines)


def data(one: MountedFileSystem) -> dict[str, object]:
    """Return the same facts for a program."""
    return {
        "mountpoint": one.mountpoint,
        "device": one.device,
        "file_system": one.file_system,
        "unmet": one.unmet.value if one.unmet else None,
        "patterns": list(one.patterns),
    }


def _cells(one: MountedFileSystem) -> list[Cell]:
    return [
        Cell(escaped(one.mountpoint)),
        Cell(escaped(one.device)),
        Cell(escaped(one.file_system)),
        Cell(escaped(_why(one)), brief=_briefly(one)),
    ]


def _why(one: MountedFileSystem) -> str:
    match one.unmet:
        case Unmet.MOUNTS:
            return f"its mountpoint fits none of [drives] mounts = {', '.join(one.patterns)}"
        case Unmet.DEVICES:
            return f"its device fits none of [drives] devices = {', '.join(one.patterns)}"
        case _:
            return _briefly(one)


def _briefly(one: MountedFileSystem) -> str:
    match one.unmet:
        case Unmet.NO_DISK:
            return "it is on no disk"
        case Unmet.MOUNTS:
            return "[drives] mounts"
        case Unmet.DEVICES:
            return "[drives] devices"
        case Unmet.SYSTEM_DISK:
            return "it is the system disk"
        case Unmet.PROGRAM_DISK:
            return "it is the disk that holds this program"
        case None:
            return "it is another mount of a plot drive"
