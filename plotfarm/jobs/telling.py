"""What a run has to tell: conditions that begin or end, and other messages, all of them into the outbox.

It is sent by another process (plotfarm/jobs/deliver.py), so no job waits for a mail server.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from types import ModuleType

from plotfarm.base.condition import AlertKind, Condition, Look, Severity
from plotfarm.base.config.sections import Config
from plotfarm.base.database import Database
from plotfarm.base.memory_trouble import Trouble, met
from plotfarm.jobs.server import server_name
from plotfarm.notify import policy
from plotfarm.notify.alerts import AlertBook, Changes, Key, compare
from plotfarm.notify.checks import Check, check, looked_at, over_silently
from plotfarm.notify.message import Message
from plotfarm.notify.outbox import Outbox

_LOG = logging.getLogger(__name__)
_TRIES = 3  # another process may write at the same time
_LEVELS = {Severity.INFO: logging.INFO, Severity.WARNING: logging.WARNING, Severity.CRITICAL: logging.ERROR}


class Teller:
    """The way from what a job sees to those who are told."""

    def __init__(self, config: Config, database: Database) -> None:
        self._config, self._database = config, database
        self._book = AlertBook(database)
        self._outbox = Outbox(database)

    def told(self) -> dict[Key, Condition]:
        """Return the conditions that were told of and are not over, by (kind, about)."""
        return {key: one.condition for key, one in self._book.standing().items() if one.told is not None}

    def see(self, conditions: Iterable[Condition], look: Look, kinds: Collection[AlertKind] | None = None) -> None:
        """Evaluate one check, of all kinds of a look or of some of them."""
        self.evaluate([check(look, conditions, kinds=kinds)])

    def evaluate(self, checks: Sequence[Check]) -> None:
        """Tell of what the checks found and begins, and of what they found before and is over."""
        present, messages = [condition for one in checks for condition in one.found], list[Message]()
        for _ in range(_TRIES):
            standing = self._book.standing()
            changes = compare(
                standing, present, looked_at(checks, standing), time.time(), over_silently(checks, standing)
            )
            if not changes:
                return
            messages = self._in_words(changes)
            if self._database.is_lasting and self._database.carried_out(partial(self._write, changes, messages)):
                _log(changes)
                return
        self._tell_without_memory(changes)

    def _tell_without_memory(self, changes: Changes) -> None:
        """Tell what no database will remember, and no other process would find: at once, but not in every run.

        What is over waits until that can be remembered: it would be told again and again.
        """
        from plotfarm.notify.hourly import due_without_memory

        if self._may_remember_soon() and not policy.may_alert_without_memory(time.time()):
            return
        raised = {(one.kind, one.about): one for one in changes.raised}
        due = due_without_memory(raised, self._config, time.time())
        if due:
            changes = Changes([raised[key] for key in raised if key in due])
            _log(changes)
            Teller(self._config, Database(None)).tell(*self._in_words(changes))

    def _may_remember_soon(self) -> bool:
        """Tell whether the database was only taken by another process: the next run has it, and tells."""
        return self._database.is_lasting and all(one.trouble is Trouble.LOCKED for one in met())

    def wants(self, kind: str) -> bool:
        """Tell whether messages of this kind are sent: if not, they need not be made."""
        return policy.is_wanted(kind, self._config.notifications)

    def tell(self, *messages: Message) -> int:
        """Put messages into the outbox, for each who should get them; returns for how many that is."""
        count = self._put(messages)
        self._send_what_cannot_be_kept()
        return count or 0

    def _write(self, changes: Changes, messages: Sequence[Message]) -> bool:
        # False: another process was faster, and what it wrote has to be looked at first.
        return self._book.apply(changes) and self._put(messages) is not None

    def _put(self, messages: Sequence[Message]) -> int | None:
        """Return for how many the messages were stored; None if one of them could not be."""
        settings = self._config.notifications
        wanted = [message for message in messages if policy.is_wanted(message.kind, settings)]
        if not wanted:
            return 0
        from plotfarm.notify.channels import configured_channels

        channels, problems = configured_channels(self._config)
        for problem in problems:
            _LOG.warning("No messages by %s: %s", problem.channel, problem.why)
        everybody = {channel.name: channel.recipients() for channel in channels}
        now, count = time.time(), 0
        for message in wanted:
            severity = None if message.kind == policy.TEST else message.severity
            recipients = {channel.name: channel.recipients(severity) for channel in channels}
            targets = policy.targets(message.kind, message.severity, settings, recipients, everybody)
            if not self._outbox.put(message, targets, now):
                return None
            count += len(targets)
        return count

    def _send_what_cannot_be_kept(self) -> None:
        """If there is no lasting memory for them, messages go at once: no other process would find them."""
        if not self._database.is_lasting and self._outbox.has_due(time.time()):
            from plotfarm.notify.delivery import deliver

            deliver(self._config, self._database)

    def _in_words(self, changes: Changes) -> list[Message]:
        """Return one message for each kind: a controller that takes sixteen drives with it is one message."""
        if not changes.raised and not changes.cleared:
            return []
        mails = _words()
        raised, cleared = _by_kind(changes.raised), _by_kind(changes.cleared)
        server = server_name(self._config)
        kinds = dict.fromkeys([*raised, *cleared])
        return [mails.alert(server, raised.get(kind, []), cleared.get(kind, [])) for kind in kinds]


def on_its_way(recipients: int) -> str:
    """Return what to say of a message that was told to so many; nothing if nobody gets it."""
    return f"Sent on its way to {recipients} recipient{'s' if recipients > 1 else ''}." if recipients else ""


def _log(changes: Changes) -> None:
    if not changes.raised and not changes.cleared:
        return
    mails = _words()
    for condition in changes.raised:
        _LOG.log(_LEVELS[condition.severity], "%s", mails.sentence(condition))
    for condition in changes.cleared:
        _LOG.info("%s", mails.sentence(condition, over=True))


def _words() -> ModuleType:
    """Return who makes words of conditions: the templates, or plain words where these cannot be used."""
    try:
        from plotfarm.reports import mails  # slow to import, and seldom needed
    except ImportError:
        from plotfarm.reports import plain_mails as mails  # type: ignore[no-redef]
    return mails


def _by_kind(conditions: Sequence[Condition]) -> Mapping[str, list[Condition]]:
    kinds: dict[str, list[Condition]] = {}
    for condition in conditions:
        kinds.setdefault(condition.kind, []).append(condition)
    return kinds
