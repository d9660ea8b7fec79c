"""What a simulated farm looks like before the first step: which journey, where the source lies, what is there."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from plotfarm.transfer.publish import Verify

PLOT = "plot-k32.plot"
CONTENT = (11, 12, 13, 14, 15, 16)  # one token a block, one block a segment
OTHER_CONTENT = (51, 52, 53, 54, 55, 56)
BLOCKS = len(CONTENT)
PLOT_ID = "ab" * 16
SEGMENT_BYTES = 1
SAMPLED = (1, 4)  # blocks that CheckSamples reads back
KEPT_BLOCKS = 5  # that an interrupted arrival left


class Alias(Enum):
    """Where the plot directory leads."""

    OWN = "own drive"
    OWN_NFS = "own drive over NFS"  # other numbers, no leases
    SAME = "the drive itself"  # by the same path, a bind mount or a symbolic link
    OTHER_DIRECTORY = "another directory of the drive"
    POOL = "pool over the drives"  # mergerfs: other numbers, changes by path reach every branch
    POOL_SSD = "pool over the drives and an SSD"
    NFS = "the drive over NFS"


class Start(Enum):
    """What lies on the first drive of the NAS beforehand."""

    FRESH = "nothing"
    PART = "part"
    PART_ROTTEN = "part with a rotten block"
    STORED = "stored"
    STORED_ROTTEN = "stored, and rotten"
    OTHER = "another plot of the name"
    OTHER_SIZE = "a file of another size with the name"
    LINKED = "second name of the source"


class Setup(NamedTuple):
    """A farm to begin with."""

    is_move: bool = False  # on one host, instead of between two
    alias: Alias = Alias.OWN
    start: Start = Start.FRESH
    verify: Verify = Verify.SAMPLE
    keep_source: bool = False
    has_direct: bool = True
    has_links: bool = True
    has_attributes: bool = True
    is_first_full: bool = False  # the drive that is preferred has no room
    quota: int = 40  # blocks that the parts of a plotter may hold
    second_plotter: str = ""  # "same": it has the same plot; "other": another plot of that name

    def __str__(self) -> str:
        shown = ["move" if self.is_move else "transfer", self.alias.name, self.start.name, self.verify.name]
        shown += [name for name in ("keep_source", "is_first_full") if getattr(self, name)]
        shown += [f"quota {self.quota}"] if self.quota != Setup().quota else []
        shown += [f"second plotter: {self.second_plotter} plot"] if self.second_plotter else []
        shown += [f"not {name}" for name in ("has_direct", "has_links", "has_attributes") if not getattr(self, name)]
        return " ".join(shown)


def _setups() -> list[Setup]:
    """Return the farms that are searched, the plainest first: their places are part of a replay's coordinates."""
    farms = [
        Setup(),
        Setup(start=Start.PART),
        Setup(start=Start.STORED),
        Setup(is_move=True),
        Setup(start=Start.PART_ROTTEN),
        Setup(start=Start.STORED_ROTTEN),
        Setup(start=Start.OTHER),
        Setup(start=Start.OTHER_SIZE),
    ]
    farms += [Setup(alias=alias) for alias in Alias if alias is not Alias.OWN]
    farms += [Setup(is_move=True, alias=alias) for alias in Alias if alias not in (Alias.OWN, Alias.OWN_NFS)]
    farms += [
        Setup(is_move=True, start=Start.STORED),
        Setup(is_move=True, start=Start.OTHER),
        Setup(is_move=True, alias=Alias.OTHER_DIRECTORY, start=Start.LINKED),
        Setup(is_move=True, has_links=False),
        Setup(is_move=True, verify=Verify.READBACK),
        Setup(is_move=True, keep_source=True),
        Setup(verify=Verify.WIRE),
        Setup(verify=Verify.READBACK),
        Setup(has_direct=False),
        Setup(has_links=False),
        Setup(has_attributes=False),
        Setup(is_first_full=True),
        Setup(keep_source=True),
        Setup(quota=BLOCKS),
        Setup(start=Start.PART, quota=BLOCKS + KEPT_BLOCKS - 1),
        Setup(second_plotter="same"),
        Setup(second_plotter="other"),
    ]
    return farms


SETUPS = _setups()
