"""A wallet of Chia's on loopback: its RPC over real TLS, for those alone who show a certificate of its authority."""

from __future__ import annotations

import json
import secrets
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from plotfarm.chia.rpc import ServiceAddress
from testbed.certificates import Authority
from testbed.chia_logs import PUZZLE
from testbed.service import Service


def transaction(
    parent: str, mojo: int, kind: int = 0, *, confirmed: bool = True, height: int = 5_200_000, name: str = ""
) -> dict[str, Any]:
    """Return a transaction as the wallet tells it. `kind`: 0 payment, 2 pool reward, 3 farmer reward.

    `name`: what the wallet calls it, "": something random, as if the coin had been spent when it was first seen.
    """
    return {
        "name": f"0x{name or secrets.token_hex(32)}", "amount": mojo, "type": kind, "confirmed": confirmed,
        "confirmed_at_height": height, "created_at_time": 1_795_000_000,
        "additions": [{"amount": mojo, "parent_coin_info": f"0x{parent}", "puzzle_hash": f"0x{PUZZLE}"}],
    }  # fmt: skip


@dataclass
class WalletServer(Service):
    """A wallet whose files lie in `directory`, as below Chia's config/ssl; what it says can be set at any time."""

    directory: Path
    transactions: list[dict[str, Any]] = field(default_factory=list)  # newest first
    synced: bool = True
    balance: object = 0
    height: int = 6_000_000
    fingerprint: object = 1_234_567_890
    answers: dict[str, bytes] = field(default_factory=dict)  # by question, in place of what it would say
    status: int = 200
    asked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    hangs: threading.Event | None = None  # it answers when this is set
    address: str = "127.0.0.1"
    port: int = 0
    service: str = "wallet"

    def __post_init__(self) -> None:
        self._authority = Authority(self.directory / "ca")
        self.authority = self.directory / "ca" / "private_ca.crt"
        self.authority.write_bytes(self._authority.certificate.read_bytes())
        certificate, key = self._authority.certificate_for("chia.net")
        (self.directory / self.service).mkdir(parents=True, exist_ok=True)
        self.certificate = self.directory / self.service / f"private_{self.service}.crt"
        self.key = self.directory / self.service / f"private_{self.service}.key"
        certificate.rename(self.certificate)
        key.rename(self.key)

    def wallet_address(self, timeout_seconds: float = 10.0) -> ServiceAddress:
        """Return how it is asked."""
        return ServiceAddress(self.address, self.port, self.certificate, self.key, self.authority, timeout_seconds)

    def start(self) -> None:
        """Listen, from now on."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.authority)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self.certificate, self.key)
        handler = type("Handler", (_Handler,), {"wallet": self})
        self._server = _Server((self.address, self.port), handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def says(self, what: str, asked: Mapping[str, Any]) -> bytes:
        """Return the answer to a question."""
        if what in self.answers:
            return self.answers[what]
        answers: dict[str, dict[str, Any]] = {
            "get_sync_status": {"synced": self.synced},
            "get_height_info": {"height": self.height},
            "get_logged_in_fingerprint": {"fingerprint": self.fingerprint},
            "get_wallet_balance": {"wallet_balance": {"confirmed_wallet_balance": self.balance}},
            "get_transactions": {"transactions": self.transactions[asked.get("start", 0) : asked.get("end", 0)]},
        }
        return json.dumps({"success": True, **answers[what]}).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of those who are refused, or go away."""


class _Handler(BaseHTTPRequestHandler):
    wallet: WalletServer

    def do_POST(self) -> None:
        """Answer a question."""
        what = self.path.lstrip("/")
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.wallet.asked.append((what, asked))
        if self.wallet.hangs is not None:
            self.wallet.hangs.wait()
        data = self.wallet.says(what, asked)
        self.send_response(self.wallet.status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words: object) -> None:
        """Say nothing."""
