"""What is sent: one message in the forms that the different channels need."""

from __future__ import annotations

from dataclasses import dataclass

from plotfarm.base.condition import Severity


@dataclass(frozen=True)
class Message:
    """One message. `text` and `html` say the same; `short` fits an SMS or a phone's lock screen."""

    kind: str  # new_plot_drive, daily_update, per_plot, alert, test, ...
    severity: Severity
    subject: str  # one line
    short: str  # one or two lines
    text: str
    html: str = ""
