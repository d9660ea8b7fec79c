"""Alerts in plain words, for the day when the templates cannot be used: their library is not installed, or too old."""

from __future__ import annotations

from collections.abc import Sequence

from plotfarm.base.condition import AlertKind, Condition, Severity
from plotfarm.base.text import one_line
from plotfarm.notify.message import Message


def alert(server: str, raised: Sequence[Condition], cleared: Sequence[Condition]) -> Message:
    """Return the message about conditions that begin and that are over."""
    severity = max((one.severity for one in raised), key=lambda severity: severity.rank, default=Severity.INFO)
    sentences = [sentence(one) for one in raised] + [sentence(one, over=True) for one in cleared]
    headline = sentences[0] if len(sentences) == 1 else f"{len(sentences)} alerts"
    short = f"{one_line(server)}: {headline}"
    return Message("alert", severity, short[:200], short, "\n".join([*sentences, ""]))


def sentence(condition: Condition, over: bool = False) -> str:
    """Return one line about a condition that begins, or is `over`."""
    facts = condition.facts
    if condition.kind is AlertKind.CANNOT_START:
        if over:
            return "the scripts can start again"
        return (
            f"no script can start: {facts.get('why')}. Plots are not moved meanwhile. "
            f"Run ./install.sh plotter (or nas, or farmer) in {facts.get('checkout')}"
        )
    said = ", ".join(f"{name} {value}" for name, value in facts.items() if value not in (None, ""))
    words = f"{condition.kind.replace('_', ' ')}: {condition.about}"
    return one_line(f"over: {words}" if over else f"{words} ({said})")
