"""What another host may do over ssh: nothing to this host's disk, memory or terminal, and nothing with its keys."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from plotfarm.base.errors import NasUnavailable
from plotfarm.base.last_output import KEPT_BYTES, LastOutput
from plotfarm.base.ssh import Connection, remove_leftovers
from plotfarm.base.ssh_options import effective_options, resolved_host
from testbed.plots import CHECKOUT
from testbed.sshd import PrivateSshd

EVERYTHING_ALLOWED = """
Host *
    ForwardAgent yes
    ForwardX11 yes
    ForwardX11Trusted yes
    LocalForward 24999 127.0.0.1:22
    RemoteForward 24998 127.0.0.1:22
    DynamicForward 24997
    Tunnel yes
    RemoteCommand echo not this
    PermitLocalCommand yes
    LocalCommand touch {touched}
    ControlPersist yes
    ForkAfterAuthentication yes
    StdinNull yes
    SessionType none
    RequestTTY force
    UpdateHostKeys yes
    BatchMode no
Host alias
    HostName 192.0.2.7
"""


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateSshd]:
    with PrivateSshd(tmp_path_factory.mktemp("sshd")) as sshd:
        yield sshd


@pytest.fixture
def connection(sshd: PrivateSshd, tmp_path: Path) -> Iterator[Connection]:
    with Connection(sshd.address, sshd.client_options(), 10, tmp_path) as connection:
        yield connection


def files_below(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


# ---- What the other host says ---------------------------------------------------------------------


def test_a_flood_on_stderr_fills_nothing(connection: Connection, tmp_path: Path) -> None:
    """The receiver's stderr goes neither to the disk nor into memory, and does not stop it."""
    session = connection.session(["sh", "-c", "head -c 200000000 /dev/zero >&2; printf '\\nthe end\\n' >&2; echo done"])
    before = psutil.Process().memory_info().rss
    assert session.process.stdout is not None
    assert session.process.stdout.read() == b"done\n"
    assert session.last_words().endswith("the end")
    assert len(session.last_words()) < 4 * KEPT_BYTES
    assert psutil.Process().memory_info().rss - before < 20e6
    assert files_below(tmp_path) == 0
    session.close()


def test_a_flood_on_stdout_of_a_short_command(connection: Connection) -> None:
    started = time.monotonic()
    with pytest.raises(NasUnavailable):
        connection.run(["cat", "/dev/zero"], 30)
    assert time.monotonic() - started < 10


def test_a_command_that_does_not_end(connection: Connection) -> None:
    started = time.monotonic()
    with pytest.raises(NasUnavailable):
        connection.run(["sleep", "60"], 0.5)
    assert time.monotonic() - started < 5


def test_what_a_command_prints(connection: Connection) -> None:
    assert connection.run(["printf", r"a\nb\033[2J\n"], 10) == "a\nb\\x1b[2J"


def test_words_are_one_printable_line(connection: Connection) -> None:
    with pytest.raises(NasUnavailable) as caught:
        connection.run(["sh", "-c", r"printf 'one\n\033]0;title\007two\r\nthr\377ee\n' >&2; exit 3"], 10)
    words = str(caught.value)
    assert words.isprintable()
    assert all(word in words for word in ("one", "two", "thr\\xffee"))


def test_only_the_last_of_what_was_said_is_kept() -> None:
    read, write = os.pipe()
    output = LastOutput(os.fdopen(read, "rb", 0))
    with os.fdopen(write, "wb", 0) as file:
        for number in range(20_000):
            file.write(f"line {number}\n".encode())
        file.write(b"x" * 1_000_000)
    output.wait_for_end(10)
    assert output.lines() == "x" * 300


def test_the_words_of_one_who_has_not_ended_can_be_read() -> None:
    read, write = os.pipe()
    output = LastOutput(os.fdopen(read, "rb", 0))
    with os.fdopen(write, "wb", 0) as file:
        file.write(b"so far\n")
        deadline = time.monotonic() + 10
        while output.lines() != "so far" and time.monotonic() < deadline:
            time.sleep(0.001)
        assert output.lines() == "so far"
    output.wait_for_end(10)


def test_a_fork_while_somebody_talks() -> None:
    """The thread that drains is not in the child, and nothing that the child needs is locked."""
    read, write = os.pipe()
    output = LastOutput(os.fdopen(read, "rb", 0))
    over = threading.Event()

    def talk() -> None:
        with os.fdopen(write, "wb", 0) as file:
            while not over.is_set():
                file.write(b"words\n" * 1000)

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                output.lines()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        over.set()
        thread.join()
    output.wait_for_end(10)


# ---- What ~/.ssh/config may not change ------------------------------------------------------------


def test_no_configuration_lets_the_other_host_in(sshd: PrivateSshd, tmp_path: Path) -> None:
    """Agent, X11, tunnels, forwardings and commands of ~/.ssh/config: none of them here."""
    touched = tmp_path / "touched"
    config = tmp_path / "config"
    config.write_text(EVERYTHING_ALLOWED.format(touched=touched))
    agent = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    variables = dict(part.split("=", 1) for part in agent.replace("\n", ";").split(";") if "=" in part)
    options = ["-F", str(config), *sshd.client_options()[2:], "-A", "-X", "-o", f"IdentityAgent={tmp_path}/none"]
    os.environ["SSH_AUTH_SOCK"] = variables["SSH_AUTH_SOCK"]
    try:
        with Connection(sshd.address, options, 10, tmp_path) as connection:
            said = connection.run(["sh", "-c", "echo agent=$SSH_AUTH_SOCK display=$DISPLAY tty=$SSH_TTY"], 10)
            assert said == "agent= display= tty="
            session = connection.session(["cat"])
            os.write(session.stdin, b"through\n")
            assert os.read(session.stdout, 100) == b"through\n"
            session.close()
            listening = [
                each.laddr.port for each in psutil.net_connections("tcp") if each.status == "LISTEN" and each.laddr
            ]
            assert not {24997, 24998, 24999} & set(listening)
    finally:
        del os.environ["SSH_AUTH_SOCK"]
        psutil.Process(int(variables["SSH_AGENT_PID"])).kill()
    assert not touched.exists()


def test_the_master_dies_with_its_connection(sshd: PrivateSshd, tmp_path: Path) -> None:
    """Also where ControlPersist would keep it in the background."""
    config = tmp_path / "config"
    config.write_text("Host *\n    ControlPersist yes\n    ControlMaster auto\n")
    with Connection(sshd.address, ["-F", str(config), *sshd.client_options()[2:]], 10, tmp_path) as connection:
        connection.run(["true"], 10)
    left = [each for each in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(each.info["cmdline"] or [])]
    assert left == []


def test_the_host_that_the_configuration_leads_to(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(EVERYTHING_ALLOWED)
    assert resolved_host("root@alias", ["-F", str(config)]) == "192.0.2.7"
    assert resolved_host("alias", ["-F", str(config), "-o", "HostName=10.9.8.7"]) == "10.9.8.7"
    assert resolved_host("nas1", ["-F", str(config)]) == "nas1"


def test_it_is_asked_once_a_run(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host *\n    HostName 10.0.0.1\n")
    assert resolved_host("nas1", ["-F", str(config)]) == "10.0.0.1"
    config.unlink()
    assert resolved_host("nas1", ["-F", str(config)]) == "10.0.0.1"


@pytest.mark.parametrize(
    ("host", "options"),
    [
        ("-oProxyCommand=touch /tmp/x", []),
        ("root@-oProxyCommand=touch", []),
        ("nas 1", []),
        ("", []),
        ("nas1", ["-o", "HostName=-oProxyCommand=id"]),
        ("nas1", ["-o", "NoSuchOption=yes"]),
        ("nas1", ["-F", "/no/such/file"]),
    ],
)
def test_what_is_no_host(host: str, options: list[str]) -> None:
    with pytest.raises(NasUnavailable) as caught:
        resolved_host(host, ["-F", "/dev/null", *options])
    assert str(caught.value).isprintable()


def test_the_address_of_a_connection_is_the_one_it_has(sshd: PrivateSshd, tmp_path: Path) -> None:
    """A name may have several addresses: the plot goes to the one that ssh came to."""
    options = [*sshd.client_options(), "-o", f"HostName={sshd.address}"]
    with Connection("nas.example.org", options, 10, tmp_path) as connection:
        assert connection.address() == sshd.address


def test_the_address_behind_a_proxy_is_the_configured_one(sshd: PrivateSshd, tmp_path: Path) -> None:
    proxy = f"nc {sshd.address} {sshd.port}"
    options = [*sshd.client_options(), "-o", f"ProxyCommand={proxy}", "-o", "HostName=192.0.2.7"]
    with Connection("nas1", options, 10, tmp_path) as connection:
        assert connection.address() == "192.0.2.7"


def test_a_configuration_that_ssh_does_not_accept(tmp_path: Path) -> None:
    connection = Connection("nas1", ["-F", "/dev/null", "-o", "Port=many"], 10, tmp_path)
    with pytest.raises(NasUnavailable):
        connection.open()
    connection.close()


def test_effective_options_are_known() -> None:
    assert effective_options("nas1", ("-F", "/dev/null"))["batchmode"] == "no"


# ---- What sshd drops --------------------------------------------------------------------------------


@pytest.fixture
def full_sshd(tmp_path: Path) -> Iterator[PrivateSshd]:
    """One that lets in nobody else while anybody is there who has not logged in: sshd_config(5), MaxStartups."""
    full = PrivateSshd(tmp_path / "full")
    full.max_startups = "1:100:1"
    with full:
        yield full


@contextlib.contextmanager
def nobody_logs_in(sshd: PrivateSshd) -> Iterator[socket.socket]:
    """Hold the only place for those who have not logged in."""
    with socket.create_connection((sshd.address, sshd.port)) as stranger:
        assert stranger.recv(4) == b"SSH-"
        yield stranger


def test_a_handshake_that_sshd_drops_is_tried_again(full_sshd: PrivateSshd, tmp_path: Path) -> None:
    with nobody_logs_in(full_sshd) as stranger:
        connection = Connection(full_sshd.address, full_sshd.client_options(), 20, tmp_path)
        connection.begin()
        select.select([connection], [], [], 20)
        assert not connection.went_up()
        assert connection.is_pausing
        assert connection.wake_at < connection.begun + 20
        stranger.close()
    while not connection.went_up():
        watched = [] if connection.is_pausing else [connection]
        select.select(watched, [], [], max(0.0, connection.wake_at - time.monotonic()))
    assert connection.run(["echo", "there"], 10) == "there"
    connection.close()


def test_one_that_is_always_dropped_fails_within_the_limit(full_sshd: PrivateSshd, tmp_path: Path) -> None:
    started = time.monotonic()
    with nobody_logs_in(full_sshd), pytest.raises(NasUnavailable, match="kex_exchange_identification"):
        Connection(full_sshd.address, full_sshd.client_options(), 2, tmp_path).open()
    assert time.monotonic() - started < 8, "the limit, and what ssh may take besides"


# ---- What a run that is killed leaves ---------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from plotfarm.base.ssh import Connection
connection = Connection("nowhere.invalid", [], 1, Path(sys.argv[1]))
print(connection._directory, flush=True)
sys.stdin.read()
"""


def holding(runtime: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a run that has the directory of a connection in its hands; returns that too."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(runtime)], cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


@pytest.mark.parametrize("depth", [0, 3])
def test_what_a_killed_run_leaves_is_removed_wherever_it_lies(tmp_path: Path, depth: int) -> None:
    """A socket's path has to be short, so it may lie far from the other files of the suite."""
    runtime = tmp_path.joinpath(*["a" * 40] * depth)
    runtime.mkdir(parents=True, exist_ok=True)
    process, directory = holding(runtime)
    (directory / "s").touch()
    process.kill()
    process.communicate()
    remove_leftovers(runtime)
    assert not directory.exists()


def test_what_lives_or_is_somebody_elses_is_not_removed(tmp_path: Path) -> None:
    """Agents keep their sockets in /tmp/ssh-*, and a [testing] run goes on beside the real one."""
    agent = tmp_path / "ssh-XXXXabcdef" / "agent.1234"
    agent.parent.mkdir()
    agent.touch()
    process, directory = holding(tmp_path)
    (directory / "s").touch()
    remove_leftovers(tmp_path)
    assert (directory / "s").exists()
    assert agent.exists()
    process.kill()
    process.communicate()
