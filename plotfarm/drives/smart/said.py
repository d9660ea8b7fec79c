"""An answer of `smartctl --json=o`, taken apart: the facts, the exit status, and the lines beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from plotfarm.drives.smart.calls import Answer

CANNOT_READ = 1 | 2  # exit status: the command line did not parse, or the disk could not be opened or identified
_JSON_BEGINS = re.compile(r"^\{", re.MULTILINE)
MOST = 2**63  # more than SQLite holds, and than any disk has sectors
_MOST_PROSE = 1 << 18  # characters that are searched; smartctl prints some thousands
MOST_ATTRIBUTES = 256  # an ATA disk has 30 at most
_LONGEST_NUMBER = 100  # characters, with all that may stand beside it
_FIRST_NUMBER = re.compile(r"-?\d{1,20}(?!\d)")

Facts = Mapping[str, object]


@dataclass(frozen=True)
class Said:
    """What smartctl said. Nothing in `facts` has the type that it should have until it was looked at."""

    facts: Facts
    output: tuple[str, ...]  # the lines that smartctl prints for people
    prose: str  # all lines that are not facts: of smartctl, and of sudo before and after it
    status: int  # exit status: a mask of bits, see smartctl(8); negative: a signal ended it

    def has(self, bits: int) -> bool:
        """Tell whether the exit status has one of these bits."""
        return self.status > 0 and bool(self.status & bits)

    @property
    def could_read(self) -> bool:
        """Whether the disk was opened and asked."""
        return self.status >= 0 and not self.has(CANNOT_READ)


def take_apart(answer: Answer) -> Said:
    """Return what an answer holds; without facts if there is no JSON in it."""
    before, facts, after = _split(answer.text)
    smartctl = section(facts, "smartctl")
    output = tuple(line for line in sequence(smartctl, "output") if isinstance(line, str))
    messages = [text(message, "string") for message in sequence(smartctl, "messages") if isinstance(message, dict)]
    prose = "\n".join([before.strip("\n"), *(output or messages), after.strip("\n")]).strip("\n")
    return Said(facts, output, prose[:_MOST_PROSE], _status(answer.status, whole(smartctl, "exit_status")))


def _split(said: str) -> tuple[str, Facts, str]:
    begin = _JSON_BEGINS.search(said)
    if begin is None:
        return said, {}, ""
    try:
        facts, end = json.JSONDecoder().raw_decode(said, begin.start())
    except (ValueError, RecursionError):  # cut off, or nothing that smartctl wrote
        return said, {}, ""
    return said[: begin.start()], facts, said[end:]


def _status(ended_with: int, reported: int | None) -> int:
    """Return the exit status of smartctl: what it reports, with that of the process where this can be its own.

    A sudo, ssh or shell that fails, or a signal, ends with 1, 126, 127, 137, 255 and the like, which say nothing about
    a disk. All of these have a bit by which smartctl could not read it.
    """
    if reported is None or reported > 255:
        return ended_with
    is_its_own = ended_with >= 0 and not ended_with & CANNOT_READ
    return reported | ended_with if is_its_own else reported


def section(facts: object, *path: str) -> Facts:
    """Return the object at a path; an empty one if there is none."""
    for name in path:
        facts = facts.get(name) if isinstance(facts, dict) else None
    return facts if isinstance(facts, dict) else {}


def sequence(facts: Facts, name: str) -> list[object]:
    """Return a list of the facts; an empty one if there is none."""
    found = facts.get(name)
    return found if isinstance(found, list) else []


def text(facts: Facts, name: str) -> str:
    """Return a text of the facts; "" if there is none."""
    found = facts.get(name)
    return found if isinstance(found, str) else ""


def whole(facts: Facts, name: str) -> int | None:
    """Return a count of the facts; None if it is not there, or cannot be true."""
    found = facts.get(name)
    if isinstance(found, bool) or not isinstance(found, int):
        return None
    return found if 0 <= found < MOST else None


def first_number(said: str) -> int | None:
    """Return the first number in texts such as "10 (Average 12)"; None if there is none, or it cannot be true."""
    found = _FIRST_NUMBER.search(said[:_LONGEST_NUMBER])
    number = int(found[0]) if found else None
    return number if number is not None and abs(number) < MOST else None
