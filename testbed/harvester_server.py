"""A harvester of Chia's on loopback: its RPC over real TLS, with the plots that it has loaded and its farmer."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from testbed.wallet_server import WalletServer

FARMER = 3


def connection(heard: float, kind: int = FARMER) -> dict[str, Any]:
    """Return a connection as every service of Chia's tells it; `heard`: when the other end spoke last (Unix time)."""
    return {
        "type": kind, "local_port": 8448, "peer_host": "127.0.0.1", "peer_port": 8447, "peer_server_port": 8447,
        "node_id": "0x" + "c5" * 32, "creation_time": heard - 3600, "bytes_read": 2811, "bytes_written": 26919,
        "last_message_time": heard,
    }  # fmt: skip


def loaded(number: int, size: int) -> dict[str, Any]:
    """Return a plot as the harvester tells it."""
    identity = f"{number:064x}"
    return {
        "filename": f"/mnt/drive1/plot-k32-2026-11-18-12-00-{identity}.plot", "file_size": size, "size": 32,
        "plot_id": f"0x{identity}", "compression_level": 0, "pool_public_key": None, "time_modified": 1_795_000_000,
    }  # fmt: skip


@dataclass
class HarvesterServer(WalletServer):
    """A harvester whose files lie in `directory`, as below Chia's config/ssl."""

    service: str = "harvester"
    plots: list[dict[str, Any]] = field(default_factory=list)
    connections: list[dict[str, Any]] = field(default_factory=lambda: [connection(time.time())])

    def says(self, what: str, asked: Mapping[str, Any]) -> bytes:
        """Return the answer to a question."""
        if what in self.answers:
            return self.answers[what]
        kind = asked.get("node_type")
        answers: dict[str, dict[str, Any]] = {
            "get_connections": {"connections": [one for one in self.connections if kind in (None, one["type"])]},
            "get_plots": {"plots": self.plots, "failed_to_open_filenames": [], "not_found_filenames": []},
        }
        return json.dumps({"success": True, **answers[what]}).encode()
