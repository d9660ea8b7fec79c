"""The INI text itself: sections, keys and the text of their values, with every line that does not fit."""

from __future__ import annotations

import configparser
from collections.abc import Collection

from plotfarm.base.text import one_line

_MOST_MISTAKES = 20  # a file with more is no configuration


def new_parser() -> configparser.RawConfigParser:
    """Return a parser with the rules of `plot_manager_config`.

    Nothing is interpolated; ` # ...` after a value is a comment; keys do not mind case; a section or
    key must not come twice; [DEFAULT] means nothing special.
    """
    return configparser.RawConfigParser(inline_comment_prefixes=("#",), default_section="", strict=True)


def parse(text: str, may_show: Collection[str] = ()) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return section -> key -> text of the value, and a line for each mistake in the structure.

    Only lines of the sections in `may_show` are repeated in a mistake: others may hold secrets. The parser
    stops at its first mistake, so the lines of that one are taken out and it starts again.
    """
    lines = text.split("\n")
    mistakes: list[str] = []
    while len(mistakes) < _MOST_MISTAKES:
        parser = new_parser()
        try:
            parser.read_string("\n".join(lines))
        except configparser.DuplicateSectionError as error:
            first = error.lineno or 1
            mistakes.append(f"line {first}: section [{shown(error.section)}] comes twice: put its keys together in one")
            _take_out(lines, first, _end_of_section(lines, first))
        except configparser.DuplicateOptionError as error:
            first = error.lineno or 1
            key = f"[{shown(error.section)}] {shown(error.option)}"
            mistakes.append(f"line {first}: {key} comes twice: keep one of them")
            _take_out(lines, first, _end_of_value(lines, first))
        except configparser.MissingSectionHeaderError as error:
            mistakes.append(f"line {error.lineno}: {_shown(lines, error.lineno, may_show)} stands before any [section]")
            _take_out(lines, error.lineno, error.lineno + 1)
        except configparser.ParsingError as error:
            for number, _ in error.errors:
                what = "is neither 'key = value', [section] nor # comment"
                mistakes.append(f"line {number}: {_shown(lines, number, may_show)} {what}")
                _take_out(lines, number, number + 1)
        else:
            return {name: dict(parser.items(name)) for name in parser.sections()}, mistakes
    return {}, [*mistakes[:_MOST_MISTAKES], "and more: is this a configuration?"]


def _take_out(lines: list[str], first: int, end: int) -> None:
    """Empty the lines from number `first` up to before `end`, so that the numbers of the others stay."""
    lines[first - 1 : end - 1] = [""] * (end - first)


def _end_of_section(lines: list[str], first: int) -> int:
    following = range(first + 1, len(lines) + 1)
    return next((number for number in following if lines[number - 1].startswith("[")), len(lines) + 1)


def _end_of_value(lines: list[str], first: int) -> int:
    following = range(first + 1, len(lines) + 1)
    return next((number for number in following if not lines[number - 1].startswith((" ", "\t"))), len(lines) + 1)


def _shown(lines: list[str], number: int, may_show: Collection[str]) -> str:
    heads = (line for line in reversed(lines[: number - 1]) if line.startswith("["))
    section = next(heads, "").strip().strip("[]")
    return shown(lines[number - 1].strip()) if not section or section in may_show else "(not shown)"


def shown(text: str, most: int = 80) -> str:
    """Write a piece of a file so that it stays on one line, at most about `most` characters long."""
    return one_line(text if len(text) <= most else text[:most] + "...")
