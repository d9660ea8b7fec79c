"""The INI text itself: sections, keys and the text of their values, with every line that does not fit.

What is read of a file without mistakes is what `new_parser()` reads of it. A mistake does not end the reading: what was
probably meant is taken for it, so that the mistakes behind it are found as well.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from plotfarm.base.text import one_line

# Source: configparser.RawConfigParser.
_HEADER = re.compile(r"\[(?P<name>.+)\](?P<rest>.*)")
_OPTION = re.compile(r"(?P<key>.*?)\s*[=:]\s*(?P<value>.*)$")
# What may be left of a header: `[email`, `email]`, `(email)`, `email`.
_BROKEN_HEADER = r"\W*(?P<name>\w+)\W*"


def new_parser() -> configparser.RawConfigParser:
    """Return a parser with the rules of `plot_manager_config`.

    Nothing is interpolated; ` # ...` after a value is a comment; keys do not mind case; a section or
    key must not come twice; [DEFAULT] means nothing special.
    """
    return configparser.RawConfigParser(inline_comment_prefixes=("#",), default_section="", strict=True)


class Fault(Enum):
    """What is wrong with a line. The words repeat nothing of it: it may hold a secret that lost its key."""

    BEFORE_SECTION = "it stands before any [section]"
    NO_KEY = "it is neither 'key = value', [section] nor # comment"
    BROKEN_HEADER = "a section begins with its name in brackets, alone on its line: [name]"
    BEHIND_HEADER = "something stands behind the [section]: it needs a line of its own"
    INDENTED_HEADER = "this [section] is indented, so it continues the value above: take the spaces away"
    INDENTED_KEY = "this key is indented, so it continues the value above: take the spaces away"
    SECTION_TWICE = "comes twice: put its keys together in one"
    KEY_TWICE = "comes twice: keep one of them"


@dataclass(frozen=True)
class Mistake:
    """One line that does not fit."""

    line: int  # the first is 1
    fault: Fault
    section: str = ""
    key: str = ""


@dataclass(frozen=True)
class Value:
    """The text of one value."""

    text: str
    line: int
    is_in_doubt: bool = False  # a line above it in its section, or its header, is damaged: it may be another's


@dataclass(frozen=True)
class Structure:
    """A file as it was read: section -> key -> value, and its mistakes."""

    values: dict[str, dict[str, Value]]
    headers: dict[str, int]  # section -> the line of its header
    mistakes: list[Mistake]


def parse(text: str, sections: Collection[str] = (), keys: Collection[str] = ()) -> Structure:
    """Read the text of a configuration; `sections` and `keys` are those that there are, to recognise damaged ones."""
    reader = _Reader(sections, keys)
    for number, line in enumerate(text.split("\n"), start=1):
        reader.read(number, line)
    return reader.result()


class _Open:
    """The value that is being read: more of its lines may follow. Of one that counts for nothing `section` is None."""

    def __init__(self, section: str | None, key: str, line: int, is_in_doubt: bool, text: str = "") -> None:
        self.section, self.key, self.line, self.is_in_doubt = section, key, line, is_in_doubt
        self.lines = [text]


class _Reader:
    def __init__(self, sections: Collection[str], keys: Collection[str]) -> None:
        self._sections, self._keys = sections, keys
        self._values: dict[str, dict[str, Value]] = {}
        self._headers: dict[str, int] = {}
        self._mistakes: list[Mistake] = []
        self._section: str | None = None
        self._is_damaged = False
        self._open: _Open | None = None
        self._indent = 0

    def read(self, number: int, line: str) -> None:
        """Take in one line."""
        content, has_comment = _without_comment(line)
        if not content:
            if self._open is not None and not has_comment:
                self._open.lines.append("")
            return
        indent = len(line) - len(line.lstrip())
        if self._open is not None and indent > self._indent:
            fault = self._indented(content)
            if fault is None:
                self._open.lines.append(content)
                return
            self._mistakes.append(Mistake(number, fault))  # the lines below it may be indented likewise
        else:
            self._indent = indent
        self._close()
        self._begin(number, content)

    def result(self) -> Structure:
        """Return all that was read."""
        self._close()
        return Structure(self._values, self._headers, self._mistakes)

    def _indented(self, content: str) -> Fault | None:
        """Return why an indented line is none that continues the value above it."""
        header = _HEADER.fullmatch(content)
        if header and header["name"] in self._sections:
            return Fault.INDENTED_HEADER
        # Not with a colon: the lines of some values have one.
        before, equals, _ = content.partition("=")
        is_key = equals and before.strip().lower() in self._keys
        return Fault.INDENTED_KEY if is_key else None

    def _begin(self, number: int, content: str) -> None:
        header = _HEADER.match(content)
        option = _OPTION.match(content)
        broken = None if option else re.fullmatch(_BROKEN_HEADER, content)
        if header:
            if header["rest"].strip():
                self._mistakes.append(Mistake(number, Fault.BEHIND_HEADER))
            self._enter(number, header["name"], is_damaged=bool(header["rest"].strip()))
        elif content.startswith("[") or (broken and broken["name"].lower() in self._sections):
            self._mistakes.append(Mistake(number, Fault.BROKEN_HEADER))
            word = re.search(r"\w+", content)
            name = word[0].lower() if word else ""
            self._enter(number, name if name in self._sections else "", is_damaged=True)
        elif self._section is None:
            self._fail(number, Fault.BEFORE_SECTION)
        elif option is None or not option["key"]:
            self._fail(number, Fault.NO_KEY)
        else:
            self._open_value(number, option["key"].rstrip().lower(), option["value"].strip())

    def _enter(self, number: int, section: str, *, is_damaged: bool) -> None:
        self._section, self._is_damaged = section, is_damaged
        if section in self._values and section:
            self._mistakes.append(Mistake(number, Fault.SECTION_TWICE, section))
        self._values.setdefault(section, {})
        self._headers.setdefault(section, number)

    def _fail(self, number: int, fault: Fault) -> None:
        self._mistakes.append(Mistake(number, fault))
        self._is_damaged = True
        self._open = _Open(None, "", number, True)

    def _open_value(self, number: int, key: str, text: str) -> None:
        section = self._section
        if section is not None and key in self._values[section]:
            self._mistakes.append(Mistake(number, Fault.KEY_TWICE, section, key))
            section = None
        self._open = _Open(section, key, number, self._is_damaged, text)
        if section is not None:
            self._values[section][key] = Value(text, number, self._is_damaged)

    def _close(self) -> None:
        """Keep the value whose last line was read."""
        value, self._open = self._open, None
        if value is not None and value.section is not None:
            text = "\n".join(value.lines).rstrip()
            self._values[value.section][value.key] = Value(text, value.line, value.is_in_doubt)


def _without_comment(line: str) -> tuple[str, bool]:
    """Return what a line holds beside a comment, and whether it has one."""
    stripped = line.strip()
    if stripped.startswith(("#", ";")):
        return "", True
    at = line.find("#")
    while at > 0 and not line[at - 1].isspace():
        at = line.find("#", at + 1)
    return (stripped, False) if at < 0 else (line[:at].strip(), True)


def shown(text: str, most: int = 80) -> str:
    """Write a piece of a file so that it stays on one line, at most about `most` characters long."""
    return one_line(text if len(text) <= most else text[:most] + "...")
