"""Words for what can become of a plot on its journey: made here, for people, and nowhere else."""

from __future__ import annotations

from plotfarm.transfer.outcomes import Removal

_REMOVAL = {
    Removal.REMOVED: "it was removed",
    Removal.KEPT: "keep_source is set",
    Removal.CHANGED: "it is no longer the file that was read",
    Removal.GONE: "somebody else removed or replaced it",
    Removal.SAME_FILE: (
        "it is the very file that is stored: take this plot directory, which leads to the drives, "
        "out of plot_directories"
    ),
    Removal.SUSPECT: (
        "it cannot be told from the stored file: check that the plot directory does not lead to the drives, "
        "then remove it by hand"
    ),
    Removal.NOT_PERMITTED: "it may not be removed: check who owns it and its directory",
    Removal.STILL_LINKED: "its name is gone, and the file has as many names as before: look for it by hand",
    Removal.UNKNOWN: "the next run compares them once more",
}


def removal_text(removal: Removal) -> str:
    """Return why the source of a stored plot is still there, with the remedy."""
    return _REMOVAL[removal]
