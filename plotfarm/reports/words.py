"""The words of messages: Jinja2 templates in `templates/`, each rendered as plain text and as HTML.

A message's words stand in one template, which says rows, groups and lists; `sheet.txt` and `sheet.html` say how these
look. So both forms always say the same. What is said of conditions stands in `alerts.ini`.
"""

from __future__ import annotations

import configparser
import logging
import re
import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jinja2

from plotfarm.base.condition import Condition, Severity
from plotfarm.base.config.loader import CHECKOUT
from plotfarm.base.text import one_line
from plotfarm.base.units import format_bytes, format_duration
from plotfarm.reports import terminal

_LOG = logging.getLogger(__name__)
TEMPLATES = CHECKOUT / "templates"
_UNKNOWN = "unknown"
_LABEL_WIDTH = 46
LONGEST_SUBJECT = 200


@dataclass(frozen=True)
class Words:
    """A message in its forms."""

    subject: str
    short: str
    text: str
    html: str  # "": its template is broken


@dataclass(frozen=True)
class ConditionWords:
    """What is said of one condition."""

    headline: str
    sentence: str
    place: str  # where the thing is, as a second line; "": nothing to add
    name: str


@dataclass(frozen=True)
class KindWords:
    """What is said of all conditions of one kind together."""

    headline: str
    advice: str  # what to do; "": nothing
    names: tuple[str, ...]  # what they are about


class _Missing(jinja2.ChainableUndefined):
    """A fact that was not given: the words go on without it."""

    def __str__(self) -> str:
        return _UNKNOWN


def write(name: str, context: Mapping[str, object]) -> Words:
    """Render the template of a message; jinja2.TemplateError, or what else its expressions raise, if it is broken."""
    said: Any = _environment("txt").get_template(f"{name}.jinja").make_module(dict(context))
    subject = one_line(_one_line_of(str(said.subject)))
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in str(said).splitlines())).strip("\n")
    return Words(subject[:LONGEST_SUBJECT], _one_line_of(str(said.short)), f"{text}\n", _html(name, context))


def _html(name: str, context: Mapping[str, object]) -> str:
    try:
        text = _environment("html").get_template(f"{name}.jinja").render(context)
    except Exception:  # the owner may have edited the template: the text part goes all the same
        _LOG.exception("The template %s cannot be used for HTML: the message goes as plain text only", name)
        return ""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip()) + "\n"


def of_condition(condition: Condition, over: bool = False) -> ConditionWords:
    """Return what is said of a condition that begins or stands, or is `over`. Never raises."""
    try:
        context = _context(condition)
        headline = _alert(condition.kind, "over" if over else "headline", context)
        sentence = headline if over else _alert(condition.kind, "sentence", context) or headline
        return ConditionWords(headline, sentence, context["place"], _alert(condition.kind, "name", context))
    except Exception:  # the owner may have edited the words: what is known is told all the same
        _LOG.exception("The words for %s in %s cannot be used", condition.kind, TEMPLATES / "alerts.ini")
        plain = _plain(condition, over)
        return ConditionWords(plain, plain, "", one_line(condition.about))


def of_kind(conditions: Sequence[Condition], over: bool = False) -> KindWords:
    """Return what is said of all conditions of one kind that begin or are `over`. Never raises."""
    first, count = conditions[0], len(conditions)
    each = [of_condition(one, over) for one in conditions]
    headline, advice = each[0].headline if count == 1 else f"{count} times {one_line(first.kind)}", ""
    try:
        context = {**_context(first), "count": count, "all": [_clean(one.facts) for one in conditions]}
        advice = "" if over else _alert(first.kind, "advice", context)
        if count > 1:
            headline = _alert(first.kind, "over_many" if over else "headline_many", context) or headline
    except Exception:  # as above
        _LOG.exception("The words for %s in %s cannot be used", first.kind, TEMPLATES / "alerts.ini")
    return KindWords(headline, advice, tuple(one.name for one in each))


def _alert(kind: str, key: str, context: Mapping[str, object]) -> str:
    """Render one entry of alerts.ini: of the kind, or of [other]."""
    words = _alert_words()
    template = words.get(kind, words["other"]).get(key, "")
    return _one_line_of(_render(template, context))


@cache
def _alert_words() -> Mapping[str, Mapping[str, str]]:
    parser = configparser.ConfigParser(
        interpolation=None, default_section="", delimiters=("=",), comment_prefixes=("#",)
    )
    parser.read_string((TEMPLATES / "alerts.ini").read_text(encoding="utf-8"))
    return {section: dict(parser[section]) for section in parser.sections()}


def _context(condition: Condition) -> dict[str, Any]:
    facts = _clean(condition.facts)
    context: dict[str, Any] = {
        **facts,
        "facts": facts,
        "kind": one_line(condition.kind).replace("_", " "),
        "about": one_line(condition.about),
        "drive": facts.get("drive") or one_line(condition.about),
        "critical": condition.severity is Severity.CRITICAL,
        "count": 1,
        "all": [facts],
    }
    for name in ("named", "place"):
        context[name] = _one_line_of(_render(_alert_words()["drive"][name], context))
    return context


def _render(template: str, context: Mapping[str, object]) -> str:
    return _compiled(template).render(context) if template else ""


@cache
def _compiled(template: str) -> jinja2.Template:
    return _environment("txt").from_string(template)


def _clean(facts: Mapping[str, object]) -> dict[str, object]:
    return {name: one_line(value) if isinstance(value, str) else value for name, value in facts.items()}


def _plain(condition: Condition, over: bool) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in _clean(condition.facts).items() if value not in (None, ""))
    said = one_line(f"{condition.kind}: {condition.about}")
    return f"{'over: ' if over else ''}{said}{f' ({facts})' if facts else ''}"


def _one_line_of(text: str) -> str:
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


@cache
def _environment(form: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=form == "html",  # noqa: S701 (plain text has nothing to escape)
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=_Missing,
        finalize=lambda value: _UNKNOWN if value is None else value,
    )
    environment.globals["sheet"] = f"sheet.{form}"
    environment.filters.update(
        aligned=_aligned, bar=_bar, bytes=_bytes, clock=_clock, count=_count, day=_day, degrees=_degrees,
        dotted=_dotted, duration=_duration, total=_total, wrapped=_wrapped,
    )  # fmt: skip
    return environment


# ---- Filters. What they are given may be missing. ----


def _bytes(value: object) -> str:
    return format_bytes(value) if isinstance(value, int | float) else f"an {_UNKNOWN} number of bytes"


def _count(value: object, what: str) -> str:
    """3 plots, 1 plot, an unknown number of plots."""
    text = str(value)
    if not text.isdecimal():
        return f"an {_UNKNOWN} number of {what}s"
    return f"{text} {what}{'' if text == '1' else 's'}"


def _degrees(value: object) -> str:
    return f"{value}°C" if isinstance(value, int | float) else f"an {_UNKNOWN} temperature"


def _duration(seconds: object) -> str:
    return format_duration(seconds) if isinstance(seconds, int | float) else f"an {_UNKNOWN} time"


def _day(when: object) -> str:
    """2026-11-24, local time."""
    return time.strftime("%Y-%m-%d", time.localtime(when)) if isinstance(when, int | float) else f"an {_UNKNOWN} day"


def _clock(when: object) -> str:
    """22:15:46, local time."""
    return time.strftime("%H:%M:%S", time.localtime(when)) if isinstance(when, int | float) else f"an {_UNKNOWN} time"


def _total(facts: Iterable[Mapping[str, object]], name: str) -> int | None:
    """Add up a fact of several conditions; None if none of them has it."""
    values = [value for one in facts if isinstance(value := one.get(name), int)]
    return sum(values) if values else None


def _dotted(label: str, value: object) -> str:
    return f"{label}{'.' * max(3, _LABEL_WIDTH - terminal.width_of(label))}{value}"


def _wrapped(text: str, width: int, indent: str = "") -> str:
    """Return a text in lines; a name that is longer than a line stays whole, so that it can be copied and found."""
    return f"\n{indent}".join(textwrap.wrap(str(text), width, break_long_words=False, break_on_hyphens=False))


def _bar(percent: int, length: int = 10) -> str:
    return f"[{'#' * round(min(max(percent, 0), 100) * length / 100):-<{length}}]"


def _aligned(rows: Sequence[Sequence[object]], sides: str) -> list[str]:
    """Return rows of texts as lines with columns; `sides` has < or > for each column."""
    texts = [[str(text) for text in row] for row in rows]
    widths = [max(terminal.width_of(text) for text in column) for column in zip(*texts, strict=True)]
    return [
        "  ".join(
            terminal.padded(text, width, side) for text, width, side in zip(row, widths, sides, strict=True)
        ).rstrip()
        for row in texts
    ]
