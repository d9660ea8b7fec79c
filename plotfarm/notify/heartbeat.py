"""What a heartbeat service is told of a run, and how it is asked: decisions on values, nothing is sent here.

Sources: https://healthchecks.io/docs/http_api/ (start, success, exit status, fail; `rid` is a UUID; what is posted is
kept as the log of the ping), and Uptime Kuma's wiki, Internal API: /api/push/TOKEN?status=up&msg=...&ping=....
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

LONGEST_BODY = 10_000  # bytes; the service keeps 100 kB, of which this is enough
_LONGEST_MESSAGE = 200
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


class Form(StrEnum):
    """Which convention a URL follows."""

    HEALTHCHECKS = "healthchecks"
    UPTIME_KUMA = "uptime_kuma"
    PLAIN = "plain"


class Event(StrEnum):
    """What is told."""

    BEGUN = "begun"
    ENDED = "ended"
    KILLED = "killed"  # it ended without a word
    BUSY = "busy"  # it found another run at it, which is alive


@dataclass(frozen=True)
class Beat:
    """One event of a run."""

    event: Event
    run_id: str  # a UUID: of the run, and of the other one if that is at it
    status: int = 0  # exit status
    seconds: float = 0.0  # how long the run took
    log: str = ""  # its last lines
    own_id: str = ""  # of a run that found another at it: its own, if it has said that it began


@dataclass(frozen=True)
class Ping:
    """One request; `body` None: a GET, otherwise it is posted."""

    url: str
    body: bytes | None = None


def form_of(url: str) -> Form:
    """Tell by the form of a URL what service it is of."""
    parts = urlsplit(url)
    words = [word for word in parts.path.split("/") if word]
    if words[-3:-1] == ["api", "push"]:
        return Form.UPTIME_KUMA
    is_hosted = (parts.hostname or "").lower() in ("hc-ping.com", "hchk.io")
    is_own = bool({"ping"} & set(words[-3:-1])) or bool(words and _UUID.fullmatch(words[-1]))
    return Form.HEALTHCHECKS if words and (is_hosted or is_own) else Form.PLAIN


def pings(url: str, beat: Beat) -> list[Ping]:
    """Return the requests that tell of an event, in their order."""
    match form_of(url):
        case Form.HEALTHCHECKS:
            return _of_healthchecks(url, beat)
        case Form.UPTIME_KUMA:
            return _of_uptime_kuma(url, beat)
        case Form.PLAIN:
            is_good = beat.event is Event.BUSY or (beat.event is Event.ENDED and beat.status == 0)
            return [Ping(url)] if is_good else []


def _of_healthchecks(url: str, beat: Beat) -> list[Ping]:
    """Return the requests; a later run that finds a long one alive counts as success, and starts its clock anew."""
    match beat.event:
        case Event.BEGUN:
            return [Ping(_below(url, "start", beat.run_id), b"")]
        case Event.BUSY:
            alive = _below(url, "", beat.own_id) if beat.own_id else url
            return [Ping(alive, b"an earlier run is still at it"), Ping(_below(url, "start", beat.run_id), b"")]
        case Event.KILLED:
            return [Ping(_below(url, "fail", beat.run_id), _body(f"ended without a word\n{beat.log}"))]
        case Event.ENDED if beat.status == 0:
            return [Ping(_below(url, "", beat.run_id), _body(f"took {beat.seconds:.2f} s"))]
        case Event.ENDED:
            words = f"exit status {beat.status} after {beat.seconds:.2f} s\n{beat.log}"
            return [Ping(_below(url, str(beat.status & 0xFF), beat.run_id), _body(words))]


def _below(url: str, name: str, run_id: str) -> str:
    parts = urlsplit(url)
    path = parts.path.rstrip("/") + (f"/{name}" if name else "")
    query = "&".join(filter(None, (parts.query, f"rid={run_id}")))
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def _body(text: str) -> bytes:
    """Return a text as it is posted: of one that is too long, its end."""
    data = text.encode("utf-8", "backslashreplace")
    return data if len(data) <= LONGEST_BODY else data[-LONGEST_BODY:]


def _of_uptime_kuma(url: str, beat: Beat) -> list[Ping]:
    last_line = beat.log.strip().rpartition("\n")[2]
    match beat.event:
        case Event.BEGUN:
            return []
        case Event.BUSY:
            said = {"status": "up", "msg": "an earlier run is still at it"}
        case Event.KILLED:
            said = {"status": "down", "msg": "ended without a word"}
        case Event.ENDED if beat.status == 0:
            said = {"status": "up", "msg": "OK", "ping": str(round(beat.seconds * 1000))}
        case Event.ENDED:
            said = {"status": "down", "msg": f"exit status {beat.status}: {last_line}"[:_LONGEST_MESSAGE]}
    parts = urlsplit(url)
    others = [(key, value) for key, value in parse_qsl(parts.query) if key not in ("status", "msg", "ping")]
    query = urlencode([*others, *said.items()], quote_via=quote, errors="backslashreplace")
    return [Ping(urlunsplit((parts.scheme, parts.netloc, parts.path, query, "")))]
