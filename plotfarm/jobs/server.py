"""What this host is called."""

from __future__ import annotations

import socket

from plotfarm.base.config.sections import Config


def server_name(config: Config) -> str:
    """Return what this host is called in reports and messages."""
    return config.system_settings.server_name or socket.gethostname()
