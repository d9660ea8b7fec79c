"""What this host is called."""

from __future__ import annotations

import socket

from plotfarm.base.config.sections import Config
from plotfarm.reports.envelope import Role, Sender


def server_name(config: Config) -> str:
    """Return what this host is called in reports and messages."""
    return config.system_settings.server_name or socket.gethostname()


def sender(config: Config, role: Role) -> Sender:
    """Return who speaks in the JSON of a report."""
    return Sender(server_name(config), role)
