"""Which file names are plots, which may travel, and how any name is shown on one line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

PART_SUFFIX = ".part"
LONGEST_NAME_BYTES = 200  # with ".<16 digits>.part" it still fits into the 255 bytes of every Linux file system
_LONGEST_SHOWN = 1000
_ALLOWED = re.compile(r"[A-Za-z0-9._-]+")


_other_suffixes: list[str] = []


def allow_suffixes(others: Iterable[str]) -> None:
    """Let files with these suffixes be plots too, in this process and those that it forks: as configured."""
    _other_suffixes[:] = others
    _suffixes.cache_clear()


@cache
def _suffixes() -> tuple[str, ...]:
    from plotfarm.plots.formats import SUFFIXES  # many scripts need this module, and no suffix

    return tuple(dict.fromkeys([*SUFFIXES, *_other_suffixes]))


def is_plot_name(name: str) -> bool:
    """Tell whether a file of this name is meant to be a finished plot.

    Only the final suffix counts: `.plot.tmp`, `.plot.2.tmp`, `.plot2.part` and `.gplot.partial` are the
    names of unfinished files. Names that begin with `._` are macOS side files; the harvester leaves them
    out too.
    """
    return name.endswith(_suffixes()) and not name.startswith("._")


def refuse_name(name: str) -> str | None:
    """Return why a file name may not travel or arrive, or None if it is fine.

    Allowed are letters, digits and `. _ -` (ASCII), at most 200 bytes, a plot suffix, and no `-` or `.`
    at the beginning.
    """
    problem = _character_problem(name)
    if problem is None and name.startswith("-"):
        problem = "the name begins with '-', which programs take for an option"
    if problem is None and name.startswith("."):
        problem = "the name begins with '.'"
    if problem is None and len(name) > LONGEST_NAME_BYTES:
        problem = f"the name has {len(name)} bytes, at most {LONGEST_NAME_BYTES} are allowed"
    if problem is None and not is_plot_name(name):
        *others, last = _suffixes()
        problem = f"the name does not end with {', '.join(others)} or {last}"
    return problem


def _character_problem(name: str) -> str | None:
    if not name:
        return "the name is empty"
    if _ALLOWED.fullmatch(name):
        return None
    if any("\ud800" <= character <= "\udfff" for character in name):
        return "the name is not valid UTF-8"
    for character, called in (("/", "a '/'"), ("\0", "a NUL byte"), ("\n", "a line break"), (" ", "a space")):
        if character in name:
            return f"the name contains {called}"
    first = next(character for character in name if not _ALLOWED.fullmatch(character))
    return f"the name contains {escaped(first)}: only letters, digits and . _ - are allowed"


def escaped(name: str) -> str:
    r"""Return a name as printable text on one line, whatever bytes it has: `a\nb`, `\xff`.

    Control characters, line breaks, invisible characters and bytes that are not UTF-8 become backslash
    escapes, and a backslash becomes two. More than 1,000 characters are cut off, marked by `...`.
    """
    shown = "".join(map(_escaped_character, name[: _LONGEST_SHOWN + 1]))
    return shown if len(shown) <= _LONGEST_SHOWN else shown[: _LONGEST_SHOWN - 3] + "..."


def _escaped_character(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python carries a byte that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    if character == "\\" or not character.isprintable():
        return character.encode("unicode_escape").decode("ascii")
    return character
