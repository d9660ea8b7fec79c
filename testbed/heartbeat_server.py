"""A server on loopback that takes heartbeats as healthchecks and Uptime Kuma document it, and keeps them.

    healthchecks  GET, POST or HEAD /ping/UUID[/start|/fail|/log|/STATUS][?rid=UUID]: 200 OK
    Uptime Kuma   GET /api/push/TOKEN[?status=up|down&msg=TEXT&ping=MILLISECONDS]: {"ok": true}, or 404
    anything else GET: 200

`hangs` makes it take a request and never answer.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from testbed.service import Service

CHECK = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"
TOKEN = "Qh2Kf0aXyz"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MOST_STATUS = 255


@dataclass(frozen=True)
class Heard:
    """One ping: start, success, fail, log, a status as text, up, down, or plain."""

    what: str
    run_id: str = ""
    text: str = ""  # what was posted, or the message
    milliseconds: str = ""


@dataclass
class HeartbeatServer(Service):
    """The server, as a context manager or with `start` and `stop`."""

    heard: list[Heard] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # paths that break the convention, or are not known
    hangs: bool = False
    port: int = 0

    @property
    def healthchecks_url(self) -> str:
        """Return the URL of a check."""
        return f"http://127.0.0.1:{self.port}/ping/{CHECK}"

    @property
    def kuma_url(self) -> str:
        """Return the URL of a push monitor, as its page shows it."""
        return f"http://127.0.0.1:{self.port}/api/push/{TOKEN}?status=up&msg=OK&ping="

    @property
    def plain_url(self) -> str:
        """Return a URL of no convention."""
        return f"http://127.0.0.1:{self.port}/beat"

    def start(self) -> None:
        """Listen, from now on."""
        self._ended = threading.Event()
        self.reached = threading.Semaphore(0)  # one for each request, answered or not
        self.arrived = threading.Semaphore(0)  # one for each ping that was heard
        server = self

        class Handler(_Handler):
            beats = server

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End all silence and listen no more."""
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, query: str, body: bytes) -> tuple[int, str] | None:
        """Return status and text of the answer; None if there will be none."""
        self.reached.release()
        if self.hangs:
            self._ended.wait()
            return None
        facts = {name: values[0] for name, values in parse_qs(query).items()}
        words = path.strip("/").split("/")
        match words:
            case ["ping", check, *rest] if len(rest) <= 1:
                return self._healthchecks(check, rest[0] if rest else "", facts, body)
            case ["api", "push", token] if method == "GET":
                return self._kuma(token, facts)
            case ["beat"] if method == "GET":
                return self._hear(Heard("plain"), "fine")
        self.refused.append(path)
        return 404, "not found"

    def _healthchecks(self, check: str, signal: str, facts: dict[str, str], body: bytes) -> tuple[int, str]:
        run_id = facts.get("rid", "")
        is_status = signal.isdecimal() and int(signal) <= _MOST_STATUS
        is_known = check == CHECK and (signal in ("", "start", "fail", "log") or is_status)
        if not is_known or (run_id and not _UUID.fullmatch(run_id)):
            self.refused.append(f"{check}/{signal}?rid={run_id}")
            return 404, "not found"
        what = "success" if signal in ("", "0") else signal
        return self._hear(Heard(what, run_id, body.decode()), "OK")

    def _kuma(self, token: str, facts: dict[str, str]) -> tuple[int, str]:
        if token != TOKEN:
            self.refused.append(token)
            return 404, json.dumps({"ok": False, "msg": "Monitor not found or not active."})
        heard = Heard(facts.get("status", "up"), text=facts.get("msg", "OK"), milliseconds=facts.get("ping", ""))
        return self._hear(heard, json.dumps({"ok": True}))

    def _hear(self, heard: Heard, answer: str) -> tuple[int, str]:
        self.heard.append(heard)
        self.arrived.release()
        return 200, answer


class _Handler(BaseHTTPRequestHandler):
    beats: HeartbeatServer

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answer a HEAD."""
        self._answer()

    def do_POST(self) -> None:
        """Answer a POST."""
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        answer = self.beats.answer(self.command, parts.path, parts.query, body)
        if answer is None:
            return
        status, text = answer
        data = b"" if self.command == "HEAD" else text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words: object) -> None:
        """Say nothing."""
