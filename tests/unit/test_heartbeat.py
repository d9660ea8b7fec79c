"""What a heartbeat service is asked, by the form of its URL."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from plotfarm.notify.heartbeat import LONGEST_BODY, Beat, Event, Form, form_of, pings

UUID = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"
RUN = "123e4567-e89b-42d3-a456-426614174000"


@pytest.mark.parametrize(
    ("url", "form"),
    [
        (f"https://hc-ping.com/{UUID}", Form.HEALTHCHECKS),
        ("https://hc-ping.com/fqOOd6-F4MMNuCEnzTU01w/db-backups", Form.HEALTHCHECKS),
        (f"https://hc.example.org/ping/{UUID}", Form.HEALTHCHECKS),
        ("https://hc.example.org/ping/fqOOd6-F4MMNuCEnzTU01w/drives?create=1", Form.HEALTHCHECKS),
        (f"http://10.0.0.2:8000/{UUID}/", Form.HEALTHCHECKS),
        ("https://kuma.example.org/api/push/Qh2Kf0aXyz", Form.UPTIME_KUMA),
        ("http://10.0.0.2:3001/api/push/Qh2Kf0aXyz?status=up&msg=OK&ping=", Form.UPTIME_KUMA),
        ("https://example.org/kuma/api/push/Qh2Kf0aXyz", Form.UPTIME_KUMA),
        ("https://betteruptime.com/api/v1/heartbeat/abc", Form.PLAIN),
        ("https://example.org", Form.PLAIN),
        ("https://example.org/ping", Form.PLAIN),
    ],
)
def test_the_service_is_recognised_by_the_form(url: str, form: Form) -> None:
    assert form_of(url) is form


def asked(url: str, beat: Beat) -> list[tuple[str, str]]:
    """Path and query of each request, without the host."""
    return [(urlsplit(ping.url).path, urlsplit(ping.url).query) for ping in pings(url, beat)]


@pytest.mark.parametrize(
    ("beat", "expected"),
    [
        (Beat(Event.BEGUN, RUN), [("/ping/x/drives/start", f"rid={RUN}")]),
        (Beat(Event.ENDED, RUN, 0, 1.5), [("/ping/x/drives", f"rid={RUN}")]),
        (Beat(Event.ENDED, RUN, 2), [("/ping/x/drives/2", f"rid={RUN}")]),
        (Beat(Event.KILLED, RUN), [("/ping/x/drives/fail", f"rid={RUN}")]),
        (Beat(Event.BUSY, RUN), [("/ping/x/drives", ""), ("/ping/x/drives/start", f"rid={RUN}")]),
    ],
)
def test_healthchecks(beat: Beat, expected: list[tuple[str, str]]) -> None:
    assert asked("https://hc.example.org/ping/x/drives", beat) == expected


def test_healthchecks_keeps_what_stands_in_the_query_and_gets_duration_and_log() -> None:
    [ping] = pings(f"https://hc-ping.com/{UUID}?create=1", Beat(Event.ENDED, RUN, 0, 1.5))
    assert ping.url == f"https://hc-ping.com/{UUID}?create=1&rid={RUN}"
    assert ping.body == b"took 1.50 s"
    [ping] = pings(f"https://hc-ping.com/{UUID}", Beat(Event.ENDED, RUN, 1, 1.5, "the NAS is away\nugh \udcff"))
    assert ping.body is not None
    assert ping.body.startswith(b"exit status 1 after 1.50 s\nthe NAS is away\nugh ")
    [ping] = pings(f"https://hc-ping.com/{UUID}", Beat(Event.ENDED, RUN, 1, 1.5, "x" * 50_000 + "the end"))
    assert ping.body is not None
    assert len(ping.body) == LONGEST_BODY
    assert ping.body.endswith(b"the end")


def said(beat: Beat) -> dict[str, list[str]]:
    [ping] = pings("https://kuma.example.org/api/push/Qh2Kf0aXyz?status=up&msg=OK&ping=&extra=1", beat)
    assert ping.body is None
    assert urlsplit(ping.url).path == "/api/push/Qh2Kf0aXyz"
    return parse_qs(urlsplit(ping.url).query)


def test_uptime_kuma() -> None:
    assert said(Beat(Event.ENDED, RUN, 0, 1.5)) == {"extra": ["1"], "status": ["up"], "msg": ["OK"], "ping": ["1500"]}
    assert said(Beat(Event.ENDED, RUN, 1, 1.5, "first\nlast & worst\n")) == {
        "extra": ["1"], "status": ["down"], "msg": ["exit status 1: last & worst"],
    }  # fmt: skip
    assert said(Beat(Event.KILLED, RUN))["status"] == ["down"]
    assert said(Beat(Event.BUSY, RUN))["status"] == ["up"]
    assert pings("https://kuma.example.org/api/push/Qh2Kf0aXyz", Beat(Event.BEGUN, RUN)) == []
    said(Beat(Event.ENDED, RUN, 1, 1.5, "odd \udcff"))


def test_any_other_url_is_asked_for_when_all_went_well() -> None:
    url = "https://example.org/beat?key=1"
    assert asked(url, Beat(Event.ENDED, RUN, 0)) == [("/beat", "key=1")]
    for beat in (Beat(Event.BEGUN, RUN), Beat(Event.ENDED, RUN, 1), Beat(Event.KILLED, RUN)):
        assert pings(url, beat) == []
