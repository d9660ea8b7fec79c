"""What the plotter's key may do on the NAS: two verbs, and nothing else is ever executed."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from farm_help import processes_of, wait_for

from testbed.farm import Farm
from testbed.sshd import free_port

NewFarm = Callable[..., Farm]


def ssh(farm: Farm, *command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ssh", *farm.sshd.client_options(), "-o", "BatchMode=yes", *options, "127.0.0.1", *command],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("verb", ["receive", "kill_nc", "/opt/plots/receive_plot.sh kill_nc"])
def test_the_verbs_work(farm: Farm, verb: str) -> None:
    done = ssh(farm, verb)
    said = '{"type": "hello"' if verb == "receive" else "0 stale listeners ended\n"
    assert said in done.stdout
    assert "refused" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "id > {trace}",
        "touch {trace}",
        "/bin/sh",
        "bash -i",
        "receive; touch {trace}",
        "receive && touch {trace}",
        "receive | touch {trace}",
        "receive & touch {trace}",
        "receive $(touch {trace})",
        "receive `touch {trace}`",
        "receive\ntouch {trace}",
        "receive > {trace}",
        "$(touch {trace})",
        "/bin/sh receive",
        "/bin/sh -c 'touch {trace}'",
        "receive receive",
        "receive --config {trace}",
        "--config {trace} receive",
        "--help",
        "RECEIVE",
        "receive_plot.sh receive",
        "/tmp/../bin/sh receive_plot.sh",
        "../receive_plot.sh receive",
        "receive '",
        "-oProxyCommand=touch\t{trace}",
        "env PLOT_MANAGER_CONFIG={trace} receive",
        "x" * 100_000,
        "\u202e\x1b[2Jreceive",
    ],
)
def test_everything_else_is_refused_and_nothing_is_executed(command: str, tmp_path: Path, shared_farm: Farm) -> None:
    trace = tmp_path / "trace"
    done = ssh(shared_farm, "--", command.format(trace=trace))
    assert (done.returncode, done.stdout) == (2, "")
    assert "refused: this key may only be used for receive and kill_nc" in done.stderr
    assert "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert len(done.stderr) < 2000
    assert not trace.exists()


def test_no_command_at_all_is_no_shell(shared_farm: Farm) -> None:
    done = ssh(shared_farm)
    assert (done.returncode, done.stdout) == (2, "")
    assert "refused" in done.stderr
    with_terminal = ssh(shared_farm, options=("-tt",))
    assert with_terminal.returncode != 0
    assert with_terminal.stdout == ""
    assert "PTY allocation request failed" in with_terminal.stderr


def _copy(farm: Farm, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    options = ["-P" if option == "-p" else option for option in farm.sshd.client_options()]
    return subprocess.run(
        [program, *options, "-o", "BatchMode=yes", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("protocol", ["-O", "-s"])
def test_scp_is_refused(shared_farm: Farm, tmp_path: Path, protocol: str) -> None:
    mine, trace, secret = tmp_path / "mine", tmp_path / "trace", tmp_path / "secret"
    mine.write_text("x")
    secret.write_text("secret")
    assert _copy(shared_farm, "scp", protocol, str(mine), f"127.0.0.1:{trace}").returncode != 0
    assert _copy(shared_farm, "scp", protocol, f"127.0.0.1:{secret}", str(trace)).returncode != 0
    assert not trace.exists()


@pytest.mark.parametrize("server", [(), ("-s", "/usr/lib/openssh/sftp-server"), ("-s", "/bin/sh")])
def test_sftp_is_refused(shared_farm: Farm, tmp_path: Path, server: tuple[str, ...]) -> None:
    trace = tmp_path / "trace"
    batch = tmp_path / "batch"
    batch.write_text(f"put {batch} {trace}\n")
    done = _copy(shared_farm, "sftp", "-b", str(batch), *server, "127.0.0.1")
    assert done.returncode != 0
    assert not trace.exists()


@pytest.fixture
def target() -> socket.socket:
    """Something that listens, and that nobody may reach through the NAS."""
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    return server


def test_local_forwarding_and_stdio_forwarding_are_refused(shared_farm: Farm, target: socket.socket) -> None:
    through = f"127.0.0.1:{target.getsockname()[1]}"
    done = ssh(shared_farm, options=("-W", through))
    assert done.returncode != 0
    assert "administratively prohibited" in done.stderr
    port = free_port()
    # -N: a connection without any command, as a thief of the key would use it.
    tunnel = subprocess.Popen(
        ["ssh", *shared_farm.sshd.client_options(), "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes", "-N",
         "-L", f"{port}:{through}", "127.0.0.1"],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        with wait_for(lambda: _connected(port), "ssh to listen") as connection:
            connection.settimeout(10)
            assert connection.recv(1) == b""
        with pytest.raises(BlockingIOError):
            target.accept()
    finally:
        tunnel.kill()
        tunnel.communicate()
        target.close()


def _connected(port: int) -> socket.socket | None:
    with contextlib.suppress(OSError):
        return socket.create_connection(("127.0.0.1", port))
    return None


def test_remote_forwarding_is_refused(shared_farm: Farm) -> None:
    port = free_port()
    done = ssh(shared_farm, options=("-o", "ExitOnForwardFailure=yes", "-N", "-R", f"{port}:127.0.0.1:1"))
    assert done.returncode == 255
    assert "remote port forwarding failed" in done.stderr
    assert _connected(port) is None


def test_agent_and_x11_forwarding_are_refused(farm: Farm, tmp_path: Path) -> None:
    """The forced command would see the socket or the display in its environment."""
    trace = tmp_path / "environment"
    script = farm.root / "receive_plot.sh"
    script.write_text(f"#!/bin/sh\nenv > {trace}\n")
    agent = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for((tmp_path / "agent").exists, "the agent")
        agent_option = f"IdentityAgent={tmp_path / 'agent'}"
        options = [agent_option if word == "IdentityAgent=none" else word for word in farm.sshd.client_options()]
        subprocess.run(
            ["ssh", *options, "-o", "BatchMode=yes", "-A", "-X", "127.0.0.1"],
            env={**farm.cron_environment(), "SSH_AUTH_SOCK": str(tmp_path / "agent"), "DISPLAY": ":0"},
            stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False,
        )  # fmt: skip
    finally:
        agent.kill()
        agent.wait()
    environment = wait_for(lambda: trace.exists() and trace.read_text(), "the command")
    assert "SSH_CONNECTION=" in environment
    assert "SSH_AUTH_SOCK" not in environment
    assert "DISPLAY" not in environment


def test_a_held_session_ends_by_itself(farm: Farm) -> None:
    """Who opens a conversation and says nothing holds nothing for longer than the silence limit."""
    farm.nas.change({"transfer.silence_seconds": 2})
    started = time.monotonic()
    session = subprocess.Popen(
        ["ssh", *farm.sshd.client_options(), "-o", "BatchMode=yes", "127.0.0.1", "receive"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert session.wait(timeout=20) == 1
    session.communicate()
    assert time.monotonic() - started < 15
    wait_for(lambda: not processes_of(farm), "the end of the receiver")
