"""A NAS that means ill: it runs nothing on the plotter, leads it nowhere, shows nothing raw, and costs no plot."""

from __future__ import annotations

import json
import os
import pty
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import evil_plans
import psutil
import pytest
from evil_farm import EvilFarm
from evil_plans import ESCAPES

from testbed.sshd import PrivateSshd

HARNESS = Path(__file__).with_name("evil_sessions.py")
NETCATS = [name for name in ("nc.openbsd", "nc.traditional") if shutil.which(name)]
LOOPBACK_NUMBER = 2130706433  # 127.0.0.1, as netcat-traditional takes an address


@pytest.fixture
def evil(tmp_path: Path) -> Iterator[EvilFarm]:
    """A plotter with one plot, short limits, and a NAS that does what its plans say."""
    with EvilFarm(tmp_path) as farm:
        yield farm


def spoiling(state: str, *acts: Mapping[str, object], **more: object) -> dict[str, Any]:
    """Return a plan that does these acts instead of one answer."""
    plan = {"journey": "ready", "state": state, "nth": 1, "moment": "instead", "acts": list(acts), "then": "rightly"}
    return {**plan, "data": "take", "bytes": 1, "is_large": False, "pipe": "direct", "seed": 0, **more}


def judged(plans: list[dict[str, Any]], directory: Path) -> dict[str, Any]:
    """Run plans against streams alone, and return the figures."""
    file = directory / "plans"
    file.write_text("".join(json.dumps({**plan, "seed": number}) + "\n" for number, plan in enumerate(plans)))
    return harness("--plans", str(file))


def harness(*arguments: str) -> dict[str, Any]:
    """Run evil_sessions.py, and return the figures that it prints."""
    run = subprocess.run([sys.executable, HARNESS, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode in (0, 1), run.stderr
    figures: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return figures


# ---- Generated sessions -----------------------------------------------------------------------------

MOST_MEMORY_MIB = 64


def _judge(figures: dict[str, Any]) -> None:
    print({name: value for name, value in figures.items() if name not in ("wrong", "verdicts")})
    assert figures["wrong"] == []
    assert figures["peak_mib"] - figures["own_mib"] <= MOST_MEMORY_MIB
    # A NAS that spoils nothing that matters is served: these sessions come as far as they should.
    assert figures["removed"] >= figures["sessions"] // 20
    assert figures["ends"]["SessionLost"] >= figures["sessions"] // 4


@pytest.mark.timeout(400)
def test_a_thousand_generated_sessions() -> None:
    _judge(harness("--first", "0", "--count", "1000"))


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("first", range(1000, 10_000, 3000))
def test_ten_thousand_generated_sessions(first: int) -> None:
    _judge(harness("--first", str(first), "--count", "3000"))


def _sessions_through_ssh(directory: Path, seeds: range) -> None:
    """Let plot_manager.py meet as many NAS as there are seeds, several a run, with either pipe."""
    plans = [{**evil_plans.plan(seed), "longest": 4} for seed in seeds]
    for number, pipe in enumerate(("direct", "netcat")):
        mine = plans[number::2]
        with EvilFarm(directory / pipe, plots=8, pipe=pipe) as farm:
            farm.behave(*mine)
            while farm.sessions() < len(mine):
                farm.top_up()
                run = farm.run()
                assert run.returncode in (0, 1)
                farm.judge(run.stdout + run.stderr)


@pytest.mark.timeout(400)
def test_forty_generated_sessions_through_ssh(tmp_path: Path) -> None:
    _sessions_through_ssh(tmp_path, range(20_000, 20_040))


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("first", range(30_000, 30_300, 100))
def test_three_hundred_generated_sessions_through_ssh(tmp_path: Path, first: int) -> None:
    _sessions_through_ssh(tmp_path, range(first, first + 100))


# ---- Nothing that a NAS says becomes an option of netcat --------------------------------------------


OPTIONS: tuple[dict[str, object], ...] = (
    {"address": "-lcid>{mark}", "port": LOOPBACK_NUMBER},
    {"address": "-lk"},
    {"port": LOOPBACK_NUMBER, "drive": "-lcid>{mark}"},
    {"port": "-lcid>{mark}"},
    {"token": "-lcid>{mark}", "arrival": "-lk"},
)


@pytest.mark.parametrize("netcat", NETCATS)
def test_no_command_runs_on_the_plotter(tmp_path: Path, netcat: str) -> None:
    mark = tmp_path / "ran"
    with EvilFarm(tmp_path / "farm", pipe="netcat", netcat=netcat) as farm:
        farm.behave(*(spoiling("offer", {"spoil": _marked(fields, mark)}) for fields in OPTIONS))
        knocking = threading.Event()
        threading.Thread(target=_knock, args=(knocking,), daemon=True).start()
        for _ in OPTIONS:
            run = farm.run()
            assert run.returncode == 1
            farm.judge(run.stdout + run.stderr)
        knocking.set()
        assert "-lc" not in farm.netcat_arguments() and "-lk" not in farm.netcat_arguments()
    assert not mark.exists()


def _marked(fields: Mapping[str, object], mark: Path) -> dict[str, object]:
    return {name: value.format(mark=mark) if isinstance(value, str) else value for name, value in fields.items()}


def _knock(is_over: threading.Event) -> None:
    """Connect to every netcat that listens: one that runs a command does so when somebody comes."""
    while not is_over.wait(0.1):
        for connection in psutil.net_connections("tcp"):
            if connection.status != psutil.CONN_LISTEN or connection.pid is None or not connection.laddr:
                continue
            try:
                if psutil.Process(connection.pid).name().startswith("nc"):
                    socket.create_connection(("127.0.0.1", connection.laddr.port), 0.5).close()
            except (psutil.Error, OSError):
                continue


@pytest.mark.parametrize("netcat", NETCATS)
@pytest.mark.parametrize(
    "arguments", [("-lcid>{mark}", str(LOOPBACK_NUMBER)), ("127.0.0.1", "-lcid>{mark}"), ("-lk", "4040")]
)
def test_send_plot_refuses_options_itself(tmp_path: Path, netcat: str, arguments: tuple[str, ...]) -> None:
    mark = tmp_path / "ran"
    words = [each.format(mark=mark) for each in arguments]
    script = Path(__file__).resolve().parents[2] / "send_plot.sh"
    run = subprocess.run([script, *words, netcat], input=b"x", capture_output=True, timeout=10, check=False)
    assert run.returncode == 2
    assert b"refused" in run.stderr
    assert not mark.exists()


# ---- The plotter connects to no address but the one that it has itself ------------------------------


@pytest.mark.parametrize("pipe", ["netcat", "direct"])
def test_no_other_service_hears_a_byte(tmp_path: Path, pipe: str) -> None:
    with socket.socket() as service, EvilFarm(tmp_path, pipe=pipe) as farm:
        service.bind(("127.0.0.9", 0))
        service.listen()
        service.settimeout(0.1)
        port = service.getsockname()[1]
        said = {"address": "127.0.0.9", "port": port, "token": "FLUSHALL\r\nSET x y\r\n"}
        farm.behave(
            spoiling("offer", {"spoil": said}),
            spoiling("offer", {"spoil": {"address": "127.0.0.9", "port": port}}),
            spoiling("offer", {"spoil": {"port": port}}),
            spoiling("offer", {"spoil": {"port": 22}}),
        )
        for _ in range(4):
            farm.top_up()
            run = farm.run()
            farm.judge(run.stdout + run.stderr)
        with pytest.raises(TimeoutError):
            service.accept()


# ---- What the receiver says on stderr fills neither disk nor memory ---------------------------------


def test_a_flood_on_stderr_fills_nothing(tmp_path: Path) -> None:
    flood = {"stderr": "x" * 65_535 + "\n", "times": 100_000}
    with EvilFarm(tmp_path) as farm:
        farm.behave(spoiling("ask", flood, longest=4))
        usage = farm.run_watched()
        farm.judge(usage.output)
        assert usage.status == 1
        assert usage.most_bytes_on_disk < 10 * 2**20
        assert usage.most_memory_bytes < 128 * 2**20
        assert len(usage.output) < 4000


# ---- What a NAS says is shown as one escaped line ---------------------------------------------------


def _saying(text: str) -> list[dict[str, Any]]:
    refusals = [{"type": "refused", "refusal": kind, "detail": text} for kind in ("name", "no drive", "arriving")]
    failed = {"type": "failed", "failure": "I/O error", "detail": text, "is_resumable": False}
    capacity = {"type": "capacity", "plots": 0, "streams": 0, "arriving_bytes": 0, "detail": text}
    return [
        *(spoiling("offer", {"say": refused}) for refused in refusals),
        spoiling("offer", {"say": failed}),
        spoiling("ask", {"say": capacity}),
        spoiling("hello", {"raw": text + "\n"}, moment="before"),
        spoiling("hello", {"stderr": text + "\n", "times": 1}, then="closing"),
        spoiling("offer", {"spoil": {"drive": text}}, journey="ready"),
        spoiling("commit", {"spoil": {"path": text}}),
        spoiling("offer", {"spoil": {"path": text}}, journey="have"),
    ]


PLAIN = ESCAPES.encode("ascii", "ignore").decode()


def test_nothing_is_shown_raw(tmp_path: Path) -> None:
    plans = _saying(PLAIN)
    with EvilFarm(tmp_path) as farm:
        farm.behave(*plans)
        outputs = []
        for _ in plans:
            farm.top_up()
            run = farm.run()
            outputs.append(run.stdout + run.stderr)
            farm.judge(outputs[-1])
        print(*outputs, sep="\n====\n")
        assert sum("owned" in output for output in outputs) >= 7  # it is shown, and escaped
        assert sum("hashes equal" in output and "\\n" in output for output in outputs) >= 7
        assert "\x1b" not in farm.told()


def test_nothing_raw_reaches_a_terminal(tmp_path: Path) -> None:
    with EvilFarm(tmp_path) as farm:
        farm.behave(spoiling("commit", {"spoil": {"path": ESCAPES}}))
        ours, theirs = pty.openpty()
        run = farm.start(output=os.fdopen(theirs, "w"))
        shown = b""
        with open(ours, "rb", buffering=0) as terminal:
            while run.poll() is None or b"->" not in shown:
                try:
                    shown += os.read(terminal.fileno(), 65536)
                except OSError:  # its other end is closed
                    break
        assert run.wait() == 0
        assert b"\x1b]0;owned" not in shown and b"\x1b[2J" not in shown
        assert b"\\x1b]0;owned\\x07" in shown
        assert not any(line.startswith(b"forged") for line in shown.splitlines())


def test_a_path_that_the_locale_has_no_letters_for(evil: EvilFarm) -> None:
    evil.behave(spoiling("commit", {"spoil": {"path": "/mnt/драйв/日本.plot"}}))
    run = evil.run(environment={"PYTHONIOENCODING": "ascii"})
    assert run.returncode == 0, run.stderr
    assert "\\u65e5" in run.stdout
    evil.judge(run.stdout + run.stderr)
    assert evil.waiting() == []


# ---- Every session ends, without a traceback --------------------------------------------------------

READY = {
    "type": "ready",
    "port": "$PORT",
    "token": "0" * 32,
    "drive": "d",
    "arrival": "0" * 16,
    "segments": 0,
    "attempt": 1,
}
HASHES = '{"type": "partial", "segments": ['
PARTIAL = {"type": "partial", "segments": "$TRUTH"}
STATES = ("hello", "ask", "offer", "continue", "pouring", "sent", "commit", "recheck")


def _journey(state: str) -> str:
    return "partial" if state == "continue" else "ready"


def _endless() -> dict[str, dict[str, Any]]:
    """Return NAS that never come to an end, by what they do."""
    plans = {}
    for state in STATES:
        large = {"is_large": state == "pouring", "data": "hold" if state == "pouring" else "take"}
        for then in ("beating", "silently"):
            plans[f"{then} at {state}"] = spoiling(state, then=then, journey=_journey(state), **large)
        again = {"again": 100_000}
        plans[f"the answer to {state} without end"] = spoiling(state, again, journey=_journey(state), **large)
    beat = '{"type": "heartbeat", "phase": "pouring"}\n'
    capacity = {"say": {"type": "capacity", "plots": 10**9, "streams": 10**6, "arriving_bytes": 0, "detail": ""}}
    return {
        **plans,
        "heartbeats as fast as they go": spoiling("offer", {"many": beat * 1000, "times": 100_000}),
        "ready for ever": spoiling("lost", {"say": READY}, nth=0, data="refuse", is_large=True),
        "partial for ever": spoiling("continue", {"say": PARTIAL}, nth=0, journey="partial"),
        "capacity to every question": spoiling("offer", capacity, nth=0),
        "a line without end": spoiling("offer", {"many": "x" * 65_536, "times": 4000}),
        "hashes without end": spoiling(
            "offer", {"raw": HASHES}, {"many": f'"{evil_plans.HASH}",' * 1000, "times": 4000}
        ),
        "noise without end": spoiling("hello", {"many": PLAIN + "\n", "times": 10**6}),
    }


@pytest.mark.timeout(400)
def test_no_session_lasts_for_ever(tmp_path: Path) -> None:
    attacks = _endless()
    figures = judged(list(attacks.values()), tmp_path)
    names = list(attacks)
    assert figures["peak_mib"] - figures["own_mib"] <= MOST_MEMORY_MIB
    assert figures["wrong"] == [], [names[each["seed"]] for each in figures["wrong"]]
    lasted = {names[each["seed"]]: each["seconds"] for each in figures["verdicts"]}
    assert len(lasted) == len(names)
    removed = {names[each["seed"]] for each in figures["verdicts"] if each["is_removed"]}
    assert removed <= {"the answer to pouring without end"}  # which is none
    print(sorted(lasted.items(), key=lambda each: -each[1])[:5])


@pytest.mark.timeout(400)
def test_hostile_numbers_and_texts_end_in_one_line(tmp_path: Path) -> None:
    hostile: list[dict[str, Any]] = []
    values: tuple[Any, ...] = (10**400, -1, 65536, 10**30, "4040", "\ud800", None, [[[]]], 1e308, True)
    for value in values:
        hostile += [
            spoiling("offer", {"spoil": {"port": value}}),
            spoiling("offer", {"spoil": {"attempt": value}}),
            spoiling("ask", {"spoil": {"plots": value}}),
            spoiling("hello", {"spoil": {"version": value}}),
            spoiling("sent", {"spoil": {"size": value}}),
            spoiling("recheck", {"spoil": {"mtime_ns": value}}),
            spoiling("commit", {"spoil": {"path": value}}),
        ]
    figures = judged(hostile, tmp_path)
    assert figures["wrong"] == []
    assert figures["sessions"] == len(hostile)


def test_plot_manager_leaves_a_nas_that_only_beats(evil: EvilFarm) -> None:
    evil.behave(spoiling("ask", then="beating"), spoiling("commit", then="beating"))
    for _ in range(2):
        run = evil.run()
        assert run.returncode == 1
        assert "within" in run.stderr
        evil.judge(run.stdout + run.stderr)


# ---- Login noise and banners ------------------------------------------------------------------------


def test_a_hostile_banner_and_login_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    banner = tmp_path / "banner"
    banner.write_text(PLAIN * 20)
    original = PrivateSshd._configuration
    monkeypatch.setattr(PrivateSshd, "_configuration", lambda self, port: f"{original(self, port)}Banner {banner}\n")
    with EvilFarm(tmp_path) as farm:
        noise = {"raw": (PLAIN + "\n") * 100}
        words = {"stderr": PLAIN + "\n", "times": 100}
        farm.behave(spoiling("hello", noise, words, moment="before"), spoiling("hello", noise, words, then="closing"))
        run = farm.run()
        assert run.returncode == 0, run.stderr
        farm.judge(run.stdout + run.stderr)
        farm.top_up()
        run = farm.run()
        assert run.returncode == 1
        farm.judge(run.stdout + run.stderr)
        assert "owned" in run.stderr


# ---- Lies -------------------------------------------------------------------------------------------


@pytest.mark.timeout(400)
def test_a_source_goes_only_after_a_consistent_answer(tmp_path: Path) -> None:
    """What each lie leads to: the source stays, with its own time."""
    lies = {
        "other bytes arrived": spoiling("sent", {"spoil": {"segments": "$WRONG"}}),
        "fewer segments arrived": spoiling("sent", {"spoil": {"segments": "$SHORT"}}),
        "more segments arrived": spoiling("sent", {"spoil": {"segments": "$LONG"}}),
        "another size arrived": spoiling("sent", {"spoil": {"size": 1}}),
        "another arrival is stored": spoiling("commit", {"spoil": {"arrival": "f" * 16}}),
        "other bytes are stored": spoiling("commit", {"spoil": {"segments": "$WRONG"}}),
        "other bytes are there": spoiling("offer", {"spoil": {"segments": "$WRONG"}}, journey="have"),
        "nothing is there": spoiling("offer", {"spoil": {"segments": []}}, journey="have"),
        "it is the same file": spoiling("recheck", {"spoil": {"mtime_ns": "$SOURCE_TIME"}}, nth=0),
        "it is the same file, there already": spoiling(
            "recheck", {"spoil": {"mtime_ns": "$SOURCE_TIME"}}, nth=2, journey="have"
        ),
        "it has another size": spoiling("recheck", {"spoil": {"size": 1}}),
        "its time changes": spoiling("recheck", {"spoil": {"mtime_ns": 5}}, nth=2),
        "an older answer": spoiling("recheck", {"spoil": {"number": 1}}, nth=2),
        "stored before it is committed": spoiling(
            "sent", {"say": {"type": "stored", "arrival": "0123456789abcdef", "path": "/x", "segments": "$TRUTH"}}
        ),
        "it goes before the last look": spoiling("recheck", nth=2, then="closing"),
        "nothing is spoiled": spoiling("hello", moment="before"),
    }
    figures = judged(list(lies.values()), tmp_path)
    assert figures["wrong"] == []
    removed = [list(lies)[each["seed"]] for each in figures["verdicts"] if each["is_removed"]]
    assert removed == ["nothing is spoiled"]
