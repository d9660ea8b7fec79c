"""What a field of a message may hold: each bound reads a value that came from outside, or refuses it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from plotfarm.plots.names import escaped

_MOST = 2**63 - 1


class Bound(Protocol):
    """What a field may hold."""

    def read(self, value: Any) -> Any:
        """Return the value for the field; ValueError if it is out of bounds."""

    def describe(self) -> str:
        """Return the bounds for docs/protocol.md."""


@dataclass(frozen=True)
class Whole:
    """A whole number of a range."""

    lowest: int = 0
    highest: int = _MOST

    def read(self, value: Any) -> int:
        """Return the number."""
        if not isinstance(value, int) or isinstance(value, bool) or not self.lowest <= value <= self.highest:
            raise ValueError
        return value

    def describe(self) -> str:
        """Return the bounds."""
        return f"whole number, {self.lowest} to {self.highest}"


@dataclass(frozen=True)
class Seconds:
    """A duration in seconds, or in another unit of time that is no whole number."""

    highest: float

    def read(self, value: Any) -> float:
        """Return the number."""
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= self.highest:
            raise ValueError
        return float(value)

    def describe(self) -> str:
        """Return the bounds."""
        return f"number, 0 to {self.highest:g}"


@dataclass(frozen=True)
class Text:
    """A text, which becomes one printable line."""

    longest: int

    def read(self, value: Any) -> str:
        """Return the text with everything that is not printable escaped."""
        if not isinstance(value, str) or len(value) > self.longest:
            raise ValueError
        return escaped(value)

    def describe(self) -> str:
        """Return the bounds."""
        return f"text, at most {self.longest} characters, shown as one escaped line"


@dataclass(frozen=True)
class Pattern:
    """A text of a given form."""

    form: str
    longest: int

    def read(self, value: Any) -> str:
        """Return the text."""
        if not isinstance(value, str) or len(value) > self.longest or not re.fullmatch(self.form, value):
            raise ValueError
        return value

    def describe(self) -> str:
        """Return the bounds."""
        return f"text of the form `{self.form}`, at most {self.longest} characters"


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def read(self, value: Any) -> bool:
        """Return the flag."""
        if not isinstance(value, bool):
            raise ValueError
        return value

    def describe(self) -> str:
        """Return the bounds."""
        return "true or false"


@dataclass(frozen=True)
class Hashes:
    """The hashes of a plot's first segments."""

    most: int

    def read(self, value: Any) -> tuple[str, ...]:
        """Return the hashes."""
        if not isinstance(value, list) or len(value) > self.most:
            raise ValueError
        if not all(isinstance(each, str) and re.fullmatch("[0-9a-f]{64}", each) for each in value):
            raise ValueError
        return tuple(value)

    def describe(self) -> str:
        """Return the bounds."""
        return f"list of at most {self.most} texts of 64 hexadecimal digits"


@dataclass(frozen=True)
class OneOf:
    """A member of an enum, by its value."""

    enum: type[StrEnum]

    def read(self, value: Any) -> StrEnum:
        """Return the member."""
        if not isinstance(value, str):
            raise ValueError
        return self.enum(value)

    def describe(self) -> str:
        """Return the bounds."""
        return "one of " + ", ".join(f"`{member.value}`" for member in self.enum)


@dataclass(frozen=True)
class OrNull:
    """Null, or what another bound allows."""

    bound: Bound

    def read(self, value: Any) -> Any:
        """Return the value, or None."""
        return None if value is None else self.bound.read(value)

    def describe(self) -> str:
        """Return the bounds."""
        return f"null, or {self.bound.describe()}"
