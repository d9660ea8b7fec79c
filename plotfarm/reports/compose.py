"""Making a message from the template of its kind, whatever its owner has made of that."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from plotfarm.base.condition import Severity
from plotfarm.notify.message import Message
from plotfarm.reports import words

_LOG = logging.getLogger(__name__)

Plain = Callable[[], tuple[str, str]]  # the short text and the long one, where the template is broken


def compose(kind: str, severity: Severity, context: Mapping[str, object], plain: Plain) -> Message:
    """Return a message from the template of its kind; if that is broken, from `plain`, and the log says why."""
    try:
        said = words.write(kind, context)
    except Exception:  # the owner may have edited the template: what is known is told all the same
        _LOG.exception("The template %s cannot be used: the message holds the plain facts", kind)
        short, text = plain()
        said = words.Words(short[: words.LONGEST_SUBJECT], short, f"{short}\n\n{text}\n", "")
    # A degree sign would make an SMS cost twice as much.
    return Message(kind, severity, said.subject, said.short.replace("°C", " C"), said.text, said.html)
