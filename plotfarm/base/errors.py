"""The errors that the suite expects: each is one line for a person and an exit status."""

from __future__ import annotations

from plotfarm.base.text import one_line


class PlotfarmError(Exception):
    """Something that can happen on a farm: the message says what, and what to do about it."""

    exit_status = 1


class ConfigurationError(PlotfarmError):
    """The configuration is missing or wrong; `mistakes` holds one line for each mistake."""

    exit_status = 2

    def __init__(self, heading: str, mistakes: list[str] | None = None) -> None:
        # Both name paths, which may come from the environment.
        self.mistakes = [one_line(mistake) for mistake in mistakes or []]
        super().__init__("\n".join([one_line(heading), *(f"  {mistake}" for mistake in self.mistakes)]))


class CommandFailed(PlotfarmError):
    """A command that the suite started ended badly; the message carries its last lines of output."""


class NasUnavailable(PlotfarmError):
    """A NAS cannot be reached or does not answer as this suite does."""


class NasRefuses(NasUnavailable):
    """A NAS was reached, and the command that takes plots there ended in an error: the message is what it said."""


class TransferFailed(PlotfarmError):
    """A plot did not arrive; its source is untouched and a later run tries again."""


class ProtocolError(TransferFailed):
    """The other end said something that this end cannot understand."""
