"""A web server on loopback that speaks as the services do that messages go to, and keeps what it gets.

    Twilio      POST /2010-04-01/Accounts/SID/Messages.json
    Pushbullet  GET /v2/users/me, /v2/devices, /v2/chats, /v2/channels and POST /v2/pushes
    JSON        POST /notify...: Apprise's json:// URLs
    Sentry      POST /api/PROJECT/envelope/

`trouble` makes it refuse: a status for whatever is asked, or SILENT, which takes a request and never answers.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from testbed.service import Service

SILENT = -1
ACCOUNT_SID = "AC" + "0123456789abcdef" * 2
_MESSAGES = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
_TWILIO_ERRORS = {401: (20003, "Authenticate"), 429: (20429, "Too Many Requests")}
_LISTS = ("devices", "chats", "channels")

Answer = tuple[int, dict[str, Any]]  # status and JSON


@dataclass(frozen=True)
class Request:
    """One request as it arrived; `user` and `password` are of basic authentication."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    user: str = ""
    password: str = ""


@dataclass
class WebServer(Service):
    """The server, as a context manager or with `start` and `stop`; after a stop it starts on the same port."""

    auth_token: str = "twilio-auth-token"  # of ACCOUNT_SID
    access_tokens: list[str] = field(default_factory=list)  # of Pushbullet accounts
    bad_numbers: list[str] = field(default_factory=list)  # Twilio refuses them with its error 21211
    trouble: int = 0
    trouble_at: str = "/"  # only what is asked below this path
    requests: list[Request] = field(default_factory=list)
    texts: list[dict[str, str]] = field(default_factory=list)  # To, From, Body, ...
    notes: list[dict[str, str]] = field(default_factory=list)  # of Pushbullet: token, title, body, ...
    notifications: list[dict[str, Any]] = field(default_factory=list)  # of Apprise
    events: list[dict[str, Any]] = field(default_factory=list)  # of Sentry
    address: str = "127.0.0.1"
    port: int = 0

    @property
    def url(self) -> str:
        """Return where it is: http://127.0.0.1:PORT."""
        return f"http://{self.address}:{self.port}"

    def start(self) -> None:
        """Listen, from now on."""
        self._ended = threading.Event()
        self.heard = threading.Event()  # set by each request
        server = self

        class Handler(_Handler):
            web = server

        self._server = ThreadingHTTPServer((self.address, self.port), Handler)
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

    def answer(self, request: Request) -> Answer | None:
        """Return the answer to a request, or None if there will be none."""
        self.requests.append(request)
        self.heard.set()
        is_troubled = self.trouble and request.path.startswith(self.trouble_at)
        if is_troubled and self.trouble == SILENT:
            self._ended.wait()
            return None
        trouble = self.trouble if is_troubled else 0
        ways: list[tuple[str, Callable[[Request, int], Answer]]] = [
            ("/2010-04-01/", self._twilio),
            ("/v2/", self._pushbullet),
            ("/notify", self._notify),
            ("/api/", self._sentry),
        ]
        way = next((way for path, way in ways if request.path.startswith(path)), None)
        return way(request, trouble) if way is not None else (404, {})

    def _twilio(self, request: Request, trouble: int) -> Answer:
        form = dict(parse_qsl(request.body.decode()))
        if request.path != _MESSAGES:
            return _twilio_error(404, 20404, f"The requested resource {request.path} was not found")
        if trouble or (request.user, request.password) != (ACCOUNT_SID, self.auth_token):
            code, words = _TWILIO_ERRORS.get(trouble or 401, (20500, "An internal server error has occurred"))
            return _twilio_error(trouble or 401, code, words)
        if form["To"] in self.bad_numbers:
            return _twilio_error(400, 21211, f"The 'To' number {form['To']} is not a valid phone number.")
        self.texts.append(form)
        return 201, {"sid": f"SM{len(self.texts):032x}", "status": "queued", "to": form["To"], "body": form["Body"]}

    def _pushbullet(self, request: Request, trouble: int) -> Answer:
        if request.user not in self.access_tokens:
            return _pushbullet_error(401, "invalid_access_token", "Access token is missing or invalid.")
        if trouble:
            return _pushbullet_error(trouble, "trouble", f"Trouble, {request.user}.")  # it repeats what it should not
        what = request.path.removeprefix("/v2/")
        if request.method == "GET" and what == "users/me":
            return 200, {"iden": "ujpah72o0", "active": True, "name": "Farmer"}
        if request.method == "GET" and what in _LISTS:
            return 200, {what: []}
        if request.method == "POST" and what == "pushes":
            note = json.loads(request.body)
            self.notes.append({"token": request.user, **note})
            return 200, {"iden": f"push{len(self.notes)}", "active": True, **note}
        return 404, {}

    def _notify(self, request: Request, trouble: int) -> Answer:
        if trouble:
            return trouble, {"error": request.path}
        self.notifications.append({"path": request.path, **json.loads(request.body)})
        return 200, {}

    def _sentry(self, request: Request, trouble: int) -> Answer:
        if trouble:
            return trouble, {"detail": "trouble"}
        packed = request.headers.get("content-encoding") == "gzip"
        lines = (gzip.decompress(request.body) if packed else request.body).split(b"\n")
        for head, payload in zip(lines[1::2], lines[2::2], strict=False):  # the first line is about the envelope
            if head and json.loads(head).get("type") == "event":
                self.events.append(json.loads(payload))
        return 200, {"id": "0" * 32}


class _Handler(BaseHTTPRequestHandler):
    """Reads a request and writes the answer, over one connection for several of them."""

    timeout = 5.0  # of an idle connection: a client that keeps one open must not leave a thread behind

    protocol_version = "HTTP/1.1"
    web: WebServer

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer()

    def do_POST(self) -> None:
        """Answer a POST."""
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        kind, _, basic = headers.get("authorization", "").partition(" ")
        user, _, password = base64.b64decode(basic if kind == "Basic" else "").decode().partition(":")
        answer = self.web.answer(Request(self.command, urlsplit(self.path).path, headers, body, user, password))
        if answer is None:
            self.close_connection = True
            return
        status, content = answer
        data = json.dumps(content).encode()
        with contextlib.suppress(ConnectionError):  # who asked may be gone
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


def twilio_client(server: WebServer, timeout_seconds: float) -> Any:
    """Return Twilio's own HTTP client, which takes what is meant for api.twilio.com to this server."""
    from twilio.http.http_client import TwilioHttpClient  # type: ignore[import-untyped]

    class ToLoopback(TwilioHttpClient):  # type: ignore[misc]
        def request(self, method: str, url: str, *args: Any, **more: Any) -> Any:
            return super().request(method, url.replace("https://api.twilio.com", server.url), *args, **more)

    return ToLoopback(timeout=timeout_seconds)


def _twilio_error(status: int, code: int, words: str) -> Answer:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return status, {"code": code, "message": words, "more_info": more, "status": status}


def _pushbullet_error(status: int, code: str, words: str) -> Answer:
    return status, {"error": {"code": code, "type": "invalid_request", "message": words, "cat": "~(=^.^)"}}
