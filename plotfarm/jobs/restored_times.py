"""Giving sources their own modification time back: a run that died may have left them with another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from plotfarm.base.state import State

if TYPE_CHECKING:
    from plotfarm.transfer.stream import TimeNote


def note_time(state: State, note: TimeNote) -> None:
    """Put on record what a process says of its source's time."""
    if note.new is None:
        state.forget_time(str(note.path))
    else:
        state.remember_time(str(note.path), note.old, note.new)


def restore_times(state: State) -> None:
    """Restore the times that are on record as changed for a moment; call it while no journey is under way."""
    changed = state.changed_times()
    if not changed:
        return
    from plotfarm.transfer.source import restore_time  # hardly any run needs it, and every cron run would wait for it

    for path, old, new in changed:
        if restore_time(Path(path), old, new):
            state.forget_time(path)
