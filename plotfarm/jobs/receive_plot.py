"""receive_plot.sh: what ssh starts on the NAS. Takes plots in, or ends stale listeners; nothing else.

Verbs: `receive` (the session of plotfarm/transfer) and `kill_nc`. As the forced command of a restricted key
the verb comes in SSH_ORIGINAL_COMMAND, and everything but these verbs is refused.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from plotfarm.base.config.sections import Config
from plotfarm.base.errors import PlotfarmError, TransferFailed
from plotfarm.base.locks import refuse_network_directory
from plotfarm.drives.reservations import Reservations
from plotfarm.drives.sessions import Session, Sessions
from plotfarm.jobs import entry
from plotfarm.plots.names import escaped
from plotfarm.reports.arguments import Parser
from plotfarm.reports.terminal import complain

if TYPE_CHECKING:
    from plotfarm.transfer.channel import Channel

VERBS = ("receive", "kill_nc")


def main(argv: Sequence[str], environment: dict[str, str]) -> int:
    """Do what the verb says; the exit status is 2 for anything that is no verb of this suite."""
    parser = Parser("receive_plot.sh", str(__doc__))
    parser.add_argument("--config", metavar="FILE", help="the configuration to use")
    parser.add_argument("--plotter", metavar="NAME", help="who this key belongs to, for the records and the quota")
    parser.add_argument("verb", nargs="?", choices=VERBS)
    arguments = parser.parse_args(argv)
    asked = environment.get("SSH_ORIGINAL_COMMAND")
    verb = arguments.verb if asked is None or arguments.verb else asked_verb(asked)
    if verb is None:
        complain(
            f"receive_plot.sh: refused: this key may only be used for {' and '.join(VERBS)}, "
            f"not for {escaped(asked or '')!r}"
        )
        return 2
    if verb == "kill_nc":
        from plotfarm.jobs import end_listeners

        return end_listeners.main([])
    client, _, server, _ = (*environment.get("SSH_CONNECTION", "").split(), "", "", "", "")[:4]
    plotter = arguments.plotter or client or "this host"
    job = functools.partial(receive, plotter=plotter, ssh_address=server, client_address=client)
    return entry.run("receive_plot", job, arguments.config, logs_late=True)


def asked_verb(command: str) -> str | None:
    """Return the verb in an SSH_ORIGINAL_COMMAND (`[.../receive_plot.sh] VERB`), or None: nothing is ever executed."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    if len(words) == 2 and re.fullmatch(r"/[\w./-]*/receive_plot(\.sh)?", words[0]):
        words = words[1:]
    return words[0] if len(words) == 1 and words[0] in VERBS else None


def receive(config: Config, plotter: str, ssh_address: str, client_address: str) -> int:
    """Hold one session over standard input and output."""
    address = config.transfer.data_address or ssh_address
    client = config.transfer.data_client or client_address
    if not address or not client:
        raise PlotfarmError(
            "no addresses for the data connection: receive_plot.sh is started over ssh, by plot_manager.py"
        )
    refuse_network_directory(config.paths.locks)
    session = _begin_session(config, plotter)
    _hold_session(config, session, plotter, address, client)
    return 0


def _begin_session(config: Config, plotter: str) -> Session:
    """Have the session counted before it costs anything; PlotfarmError if it is one of far too many."""
    most = config.receiving.sessions_per_plotter
    with Reservations(config.paths.locks).mutex():
        session = Sessions(config.paths.locks).begin(plotter, most)
    if session is None:
        raise PlotfarmError(f"{plotter} has {most} sessions here already, and more that are turned away")
    return session


def _hold_session(config: Config, session: Session, plotter: str, address: str, client: str) -> None:
    from plotfarm.transfer.channel import Channel
    from plotfarm.transfer.messages import hello

    settings = config.transfer
    channel = Channel(0, 1, settings.beat_seconds, settings.silence_seconds, "the plotter")
    channel.send(hello())

    # Most of the time and the memory that a session takes are these; the plotter need not wait for them.
    from plotfarm.base.meanwhile import Meanwhile
    from plotfarm.base.processes import run_as_batch
    from plotfarm.base.state import State
    from plotfarm.jobs.drive_storage import DriveStorage
    from plotfarm.transfer.receiver import Endpoints, Receiver

    run_as_batch(settings.niceness, settings.io_priority)
    state = State(config.paths.state)
    try:
        # A drive that hangs is waited for; the plotter must not take this session for dead meanwhile.
        meanwhile = Meanwhile(settings.beat_seconds / 2, functools.partial(_keep_alive, channel))
        storage = DriveStorage(config, state, plotter, session, meanwhile)
        Receiver(channel, config, storage, Endpoints(address, client), plotter).run()
    finally:
        state.close()


def _keep_alive(channel: Channel) -> None:
    """Send a heartbeat if one is due; that the plotter is gone is seen by the next step that speaks to it."""
    with contextlib.suppress(TransferFailed):
        channel.keep_alive()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], dict(os.environ)))
