"""The words for what is wrong in a configuration: where it stands, what it is as far as that may be shown, a hint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from plotfarm.base.config.discretion import NOT_SHOWN, Discretion, Schema
from plotfarm.base.config.structure import Fault, Structure, Value

if TYPE_CHECKING:
    from plotfarm.base.config.loader import RefusedValue

_MOST_FAULTS = 50  # a file with more is no configuration
_WITH_NAMES = {Fault.SECTION_TWICE: "section [{section}] {fault}", Fault.KEY_TWICE: "[{section}] {key} {fault}"}
_NEAR, _VERY_NEAR = 0.6, 0.7  # how alike two names are: difflib.SequenceMatcher.ratio
_SHORTEST_PART = 3


def in_words(schema: Schema, structure: Structure, refused: Iterable[RefusedValue]) -> list[str]:
    """Return a line for each mistake: first what fits nowhere, then what nobody knows, then what is not allowed."""
    words = _Words(schema)
    return [*words.of_structure(structure), *words.of_unknown(structure), *map(words.of_value, refused)]


class _Words:
    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._discretion = Discretion(schema)

    def of_structure(self, structure: Structure) -> Iterator[str]:
        """Yield the lines that fit nowhere."""
        name = self._discretion.name
        for mistake in structure.mistakes[:_MOST_FAULTS]:
            form = _WITH_NAMES.get(mistake.fault, "{fault}")
            words = form.format(fault=mistake.fault.value, section=name(mistake.section), key=name(mistake.key))
            yield f"line {mistake.line}: {words}"
        if len(structure.mistakes) > _MOST_FAULTS:
            yield "and more: is this a configuration?"

    def of_unknown(self, structure: Structure) -> Iterator[str]:
        """Yield the sections and keys that nobody knows."""
        for section, values in structure.values.items():
            known = self._schema.get(section)
            if known is None:
                if section:  # a header too damaged to tell its name is a mistake already
                    yield self._unknown_section(section, structure.headers[section])
                continue
            for key, value in values.items():
                if key not in known:
                    yield self._unknown_key(section, key, value)

    def of_value(self, refused: RefusedValue) -> str:
        """Return the line for a value that is not allowed."""
        section, key, value = refused.section, refused.key, refused.value
        said = f"= {self._discretion.value(section, key, value)}" if value.text else "is empty"
        may_show = self._discretion.may_show(section, key, value)
        return f"[{section}] {key} {said}: {refused.refusal.in_words(may_show=may_show)}"

    def _unknown_section(self, section: str, line: int) -> str:
        name = self._discretion.name(section)
        where = f"line {line}: " if name == NOT_SHOWN else ""
        return f"{where}[{name}]: unknown section{_nearest(section, self._schema)}"

    def _unknown_key(self, section: str, key: str, value: Value) -> str:
        name = self._discretion.name(key)
        where = f"line {value.line}: " if name == NOT_SHOWN else ""
        return f"{where}[{section}] {name}: unknown key{self._hint(section, key)}"

    def _hint(self, section: str, key: str) -> str:
        """Return where a key may be meant to stand: first of all in its own section, under a similar name."""
        known = self._schema[section]
        near = _closest(key, known, _VERY_NEAR) or next((name for name in known if _is_part(key, name)), None)
        if near:
            return f", did you mean {near}?"
        homes = [f"[{home}]" for home, keys in self._schema.items() if key in keys]
        return f", it belongs in {' or '.join(homes)}" if homes else _nearest(key, known)


def _is_part(key: str, name: str) -> bool:
    return len(key) >= _SHORTEST_PART and key in name.split("_")


def _nearest(name: str, known: Mapping[str, object]) -> str:
    near = _closest(name, known, _NEAR)
    return f", did you mean {near}?" if near else f", known are {', '.join(known)}"


def _closest(name: str, known: Mapping[str, object], cutoff: float) -> str | None:
    import difflib

    return next(iter(difflib.get_close_matches(name.lower()[:80], known, n=1, cutoff=cutoff)), None)
