"""Emptying the outbox: one process at a time, all channels side by side, each result noted at once."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from plotfarm.base.config.sections import Config
from plotfarm.base.database import Database
from plotfarm.base.lock_files import LockRefused
from plotfarm.base.locks import Lock, LockBusy, LockUnusable
from plotfarm.base.text import one_line
from plotfarm.notify import policy
from plotfarm.notify.channels import Channel, Outcome, Result, configured_channels
from plotfarm.notify.message import Message
from plotfarm.notify.outbox import Outbox, Row

_LOG = logging.getLogger(__name__)
_MOST_PASSES = 10
_FAILURES_OF_ONE_DOWN = 2
_SHORTEST_LIMIT_SECONDS = 60.0
_TIMEOUTS = 6  # a channel may take so many times the limit of one network call

Results = queue.SimpleQueue[tuple[int, Outcome]]  # row id, what became of it


@dataclass(frozen=True)
class Delivered:
    """What became of one message to one recipient."""

    row: Row
    outcome: Outcome


def deliver(config: Config, database: Database) -> list[Delivered]:
    """Send what is due, until nothing is; returns what became of it.

    If another process is at it, nothing is done: that one also sends what was put here. A channel that hangs is
    left behind in its thread, and what it had to send is tried again later.
    """
    outbox = Outbox(database)
    delivered: list[Delivered] = []
    try:
        for _ in range(_MOST_PASSES):
            if not outbox.has_due(time.time()):
                break
            with _alone(config, database):
                delivered += _one_pass(outbox, config)
                outbox.tidy(time.time())
    except LockBusy:
        _LOG.debug("Another process sends the messages")
    return delivered


@contextlib.contextmanager
def _alone(config: Config, database: Database) -> Iterator[None]:
    """Let one process at a time send; LockBusy if another one does.

    Where there can be no lock beside the others it lies beside the database, which all of them share. Mails go out
    even without any: each message is claimed in the database before it is sent.
    """
    with contextlib.ExitStack() as held:
        # What lives in RAM no other process sees, and so none sends it.
        for directory in (config.paths.locks, config.paths.state) if database.is_lasting else ():
            try:
                held.enter_context(Lock(directory / "outbox.lock"))
                break
            except (LockUnusable, LockRefused) as error:
                _LOG.warning("%s", error)
        yield


def _one_pass(outbox: Outbox, config: Config) -> list[Delivered]:
    """Send what is due now by all channels at once; this thread alone notes the results."""
    limit = max(_SHORTEST_LIMIT_SECONDS, _TIMEOUTS * config.notifications.timeout_seconds)
    give_up_seconds = config.notifications.give_up_hours * 3600
    channels, problems = configured_channels(config)
    unusable = {problem.channel: problem.why for problem in problems}
    by_name = {channel.name: channel for channel in channels}
    left: dict[int, Row] = {}
    results: Results = queue.SimpleQueue()
    for name, rows in _claimed(outbox, config, by_name, unusable).items():
        left.update((row.id, row) for row in rows)
        if name in unusable:
            for row in rows:
                results.put((row.id, Outcome(Result.TRY_AGAIN, unusable[name])))
        else:
            work = [(outbox.message(same[0]), same) for same in _by_message(rows)]
            threading.Thread(target=_send_all, args=(by_name[name], work, results), daemon=True).start()
    delivered = []
    for row_id, outcome in _as_they_come(results, left, limit):
        row = left.pop(row_id)
        _note(outbox, row, outcome, give_up_seconds)
        delivered.append(Delivered(row, outcome))
    return delivered


def _claimed(
    outbox: Outbox, config: Config, channels: Mapping[str, Channel], unusable: Container[str]
) -> dict[str, list[Row]]:
    """Return what is to be sent now, by channel; what nobody wants any more is dropped, what has time waits."""
    settings, now = config.notifications, time.time()
    claimed: dict[str, list[Row]] = {}
    for row in outbox.due(now):
        quiet_until = policy.held_until(row.severity, datetime.fromtimestamp(now), settings.quiet_hours)
        channel = channels.get(row.channel)
        is_configured = row.channel in unusable if channel is None else row.recipient in channel.recipients()
        if not is_configured or not policy.is_wanted(row.kind, settings):
            outbox.end(row, "dropped", now, "switched off")
            _LOG.info("Not sent by %s to %s, which is switched off: %s",
                      row.channel, row.recipient, one_line(row.subject))  # fmt: skip
        elif quiet_until:
            # Not longer than any message may wait: a next try beyond that counts as the mistake of a clock.
            outbox.wait(row, min(quiet_until.timestamp(), now + policy.LONGEST_PAUSE), "quiet hours")
        elif outbox.claim(row, now):
            claimed.setdefault(row.channel, []).append(row)
    return claimed


def _by_message(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows in groups that are of one message; the order stays."""
    return [list(group) for _, group in groupby(rows, key=lambda row: row.message)]


def _as_they_come(results: Results, left: Mapping[int, Row], limit_seconds: float) -> Iterator[tuple[int, Outcome]]:
    """Yield each result once, while any is `left` to come; after the limit the rest counts as failed."""
    deadline = time.monotonic() + limit_seconds
    while left:
        try:
            row_id, outcome = results.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            late = Outcome(Result.TRY_AGAIN, f"it did not end within {limit_seconds:g} seconds")
            yield from [(row_id, late) for row_id in list(left)]
            return
        if row_id in left:
            yield row_id, outcome


def _send_all(channel: Channel, work: Sequence[tuple[Message, list[Row]]], results: Results) -> None:
    """Send message after message; after two that nobody could be sent, the channel is down and the others wait too.

    Not after one: there are messages that a service refuses as if it were down.
    """
    failures: list[Outcome] = []
    for message, rows in work:
        waiting = {row.recipient: row for row in rows}
        is_down = len(failures) >= _FAILURES_OF_ONE_DOWN
        trouble = failures[-1] if is_down else _send(channel, message, waiting, results)
        failures = [*failures, trouble] if trouble else []
        for row in waiting.values():  # those that the channel said nothing of, or that wait
            results.put((row.id, trouble or Outcome(Result.TRY_AGAIN, "the channel did not say what became of it")))


def _send(channel: Channel, message: Message, waiting: dict[str, Row], results: Results) -> Outcome | None:
    """Send one message and take out of `waiting` whom it was sent to; returns why, if the channel is down."""
    outcomes = []
    try:
        for recipient, outcome in channel.send(message, list(waiting)):
            outcomes.append(outcome)
            if row := waiting.pop(recipient, None):
                results.put((row.id, outcome))
    except Exception as error:  # a channel promises not to raise; a bug in one must not cost the others
        _LOG.error("The channel %s broke down: %s", channel.name, type(error).__name__)
        return Outcome(Result.TRY_AGAIN, f"unexpected {type(error).__name__}")
    is_down = bool(outcomes) and all(outcome.result is Result.TRY_AGAIN for outcome in outcomes)
    return outcomes[0] if is_down else None


def _note(outbox: Outbox, row: Row, outcome: Outcome, give_up_seconds: float) -> None:
    now, attempts, subject = time.time(), row.attempts + 1, one_line(row.subject)
    if outcome.result is Result.SENT:
        outbox.end(row, "sent", now)
        _LOG.info("Sent by %s to %s: %s", row.channel, row.recipient, subject)
    elif outcome.result is Result.REFUSED:
        outbox.end(row, "refused", now, outcome.why)
        _LOG.error("Refused by %s for %s: %s; not sent: %s", row.channel, row.recipient, outcome.why, subject)
    elif policy.is_given_up(now - row.put, attempts, give_up_seconds):
        outbox.end(row, "given up", now, outcome.why)
        _LOG.error("Given up after %d attempts by %s to %s: %s; not sent: %s",
                   attempts, row.channel, row.recipient, outcome.why, subject)  # fmt: skip
    else:
        outbox.wait(row, now + policy.next_pause(attempts), outcome.why)
        _LOG.warning("Not yet sent by %s to %s: %s; waiting: %s", row.channel, row.recipient, outcome.why, subject)
