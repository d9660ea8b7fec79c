"""Sends what waits in the outbox: started in the background by whatever script has something to tell."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from plotfarm.base.condition import AlertKind, Condition, Look, Severity
from plotfarm.base.config import last_good
from plotfarm.base.config.loader import find_config, load, places
from plotfarm.base.config.sections import Config
from plotfarm.base.errors import PlotfarmError
from plotfarm.base.state import State
from plotfarm.jobs.telling import Teller
from plotfarm.notify.alerts import Key
from plotfarm.notify.channels import Result, configured_channels
from plotfarm.notify.checks import check
from plotfarm.notify.delivery import Delivered, deliver


def send_waiting(config: Config) -> int:
    """Send what waits; a recipient who is refused for good is told of by the others, once."""
    state = State(config.paths.state)
    try:
        teller = Teller(config, state.database)
        refusals, settled = refused_recipients(deliver(config, state.database))
        settled |= _former(teller.told(), config)
        teller.evaluate([check(Look.RECIPIENTS, refusals, about=settled)])
        deliver(config, state.database)
    finally:
        state.close()
    return 0


def refused_recipients(delivered: list[Delivered]) -> tuple[list[Condition], set[str]]:
    """Return a condition for each recipient whose last message was refused, and what is known of all of them."""
    last = {(one.row.channel, one.row.recipient): one.outcome for one in delivered
            if one.outcome.result is not Result.TRY_AGAIN}  # fmt: skip
    refusals = [
        Condition(AlertKind.CHANNEL_REFUSES, f"{channel}: {recipient}", Severity.WARNING,
                  {"channel": channel, "recipient": recipient, "why": outcome.why})
        for (channel, recipient), outcome in last.items() if outcome.result is Result.REFUSED
    ]  # fmt: skip
    return refusals, {f"{channel}: {recipient}" for channel, recipient in last}


def _former(told: Iterable[Key], config: Config) -> set[str]:
    """Return the refusals of recipients who are not in the configuration any more: they would stand for ever."""
    channels, problems = configured_channels(config)
    present = {f"{channel.name}: {recipient}" for channel in channels for recipient in channel.recipients()}
    not_known = tuple(f"{problem.channel}: " for problem in problems)
    refused = {about for kind, about in told if kind is AlertKind.CHANNEL_REFUSES}
    return {about for about in refused - present if not about.startswith(not_known)}


def main() -> int:
    """Read the command line and send."""
    import argparse

    from plotfarm.jobs import entry

    parser = argparse.ArgumentParser(prog="python -m plotfarm.jobs.deliver", description=__doc__)
    parser.add_argument("--config", metavar="FILE", help="the configuration to use")
    config = parser.parse_args().config
    found = _last_good_of_broken(config)
    if found is None:
        return entry.run("deliver", send_waiting, config, tells=False)
    entry.set_up("deliver", found)
    return send_waiting(found)


def _last_good_of_broken(config: str | None) -> Config | None:
    """Return the configuration that was good last, if the present one cannot be used: that has to be told too."""
    try:
        load(find_config(config))
    except PlotfarmError:
        return last_good.find(path for path, _ in places(config, os.environ))
    return None


if __name__ == "__main__":
    sys.exit(main())
