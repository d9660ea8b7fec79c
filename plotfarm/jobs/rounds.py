"""Rounds of asking several NAS: which answers count for a choice."""

from __future__ import annotations

LONGEST_SECONDS = 20.0  # a round that takes longer was left, since nothing could begin


class Rounds:
    """One round after the other. Each begins with a question and ends when nothing more has to be asked for a choice.

    What is heard in a round counts in it, also if the last answer comes when the first is older than answers may be.
    """

    def __init__(self, answer_seconds: float) -> None:
        self.answer_seconds = answer_seconds
        self._begun: float | None = None  # time.monotonic

    def oldest(self, now: float) -> float:
        """Return when an answer that counts was heard at the earliest (time.monotonic)."""
        by_age = now - self.answer_seconds
        return by_age if self._begun is None or self._is_left(now) else min(by_age, self._begun)

    def go_on(self, is_asking: bool, now: float) -> None:
        """Note whether something has to be asked yet."""
        if not is_asking:
            self._begun = None
        elif self._begun is None or self._is_left(now):
            self._begun = now

    def _is_left(self, now: float) -> bool:
        return self._begun is not None and now - self._begun >= LONGEST_SECONDS
