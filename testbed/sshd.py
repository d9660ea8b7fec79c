"""A private sshd on loopback: its own keys, its own port, nothing of ~/.ssh or of /etc/ssh.

It runs as the user who starts it, needs no root, and lets in only the keys that it made itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
from pathlib import Path

import psutil

from plotfarm.base.processes import end, find_program, spawn, tail
from testbed.service import Service

_ALIAS = "testbed"  # the name under which the host key is known, whatever the port
_READY_SECONDS = 15.0
_GONE_SECONDS = 5.0
_TRIES = 5  # another process may take the free port before sshd does


class SshdError(Exception):
    """The private sshd did not start; the message carries the last lines of its log."""


class PrivateSshd(Service):
    """An sshd in `directory`, as a context manager or with `start` and `stop`.

    With `command` every key may run only that (`restrict,command="..."`), as on a real NAS. `user_key` is the
    path of the private key of the one user that is let in from the start.
    """

    def __init__(self, directory: Path, address: str = "127.0.0.1", command: str | None = None) -> None:
        self.directory = directory
        self.address = address
        self.more_addresses: tuple[str, ...] = ()  # where it listens too, from the next start on
        self.max_startups = "10:30:100"  # as Debian has it: sshd(8); from the next start on
        self.port = 0  # chosen by start()
        self.log = directory / "sshd.log"
        self._options = "" if command is None else f"restrict,command={_quoted(command)} "
        self._process: subprocess.Popen[bytes] | None = None
        self._authorized = directory / "authorized_keys"
        self._known_hosts = directory / "known_hosts"
        directory.mkdir(parents=True, exist_ok=True)
        host_key = self.make_key("host_key")
        self._known_hosts.write_text(f"{_ALIAS} {public_half(host_key)}\n")
        self._authorized.touch(mode=0o600)
        self.user_key = self.make_key("user_key")
        self.let_in(self.user_key)

    def make_key(self, name: str) -> Path:
        """Make a key pair that nobody knows yet; returns the path of the private half."""
        path = self.directory / name
        if not path.exists():
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)],
                check=True, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        return path

    def let_in(self, key: Path) -> None:
        """Add a key to authorized_keys, under the options that all keys have."""
        with open(self._authorized, "a") as file:
            file.write(f"{self._options}{public_half(key)}\n")

    def client_options(self, key: Path | None = None) -> list[str]:
        """Return the options that make ssh come here with `key` (default: the user's) and nothing else."""
        settings = {
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": str(self._known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "HostKeyAlias": _ALIAS,
        }
        options = ["-F", "/dev/null", "-p", str(self.port), "-i", str(key or self.user_key)]
        for name, value in settings.items():
            options += ["-o", f"{name}={value}"]
        return options

    def start(self) -> None:
        """Start it, on a free port or (after a stop) on the one that it had; returns when it listens."""
        _make_privilege_separation_directory()
        for _ in range(_TRIES):
            port = self.port or free_port(self.address)
            process = self._spawn(port)
            if _listens(process, self.log, port):
                self._process, self.port = process, port
                return
            end(process)
        raise SshdError(f"sshd does not start: {tail(self.log.read_text(errors='replace'))}")

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        program = find_program("sshd")
        if program is None:
            raise SshdError("sshd is not installed: apt-get install openssh-server")
        config = self.directory / "sshd_config"
        config.write_text(self._configuration(port))
        self.log.write_bytes(b"")  # only this start counts for _listens()
        with open(self.log, "ab") as log:
            return spawn([program, "-D", "-e", "-f", str(config)], stderr=log)

    def _configuration(self, port: int) -> str:
        lines = [
            *(f"ListenAddress {address}" for address in (self.address, *self.more_addresses)),
            f"Port {port}",
            f"HostKey {self.directory / 'host_key'}",
            f"AuthorizedKeysFile {self._authorized}",
            "AuthenticationMethods publickey",
            "PermitRootLogin yes",
            f"UsePAM {'yes' if _root_is_locked() else 'no'}",  # without PAM sshd lets no locked account in
            "StrictModes no",  # the directories above may be anybody's, as /tmp is
            "PidFile none",
            "Subsystem sftp internal-sftp",  # what scp speaks
            f"SetEnv HOME={self.directory}",  # not the user's own start-up files, which a test may kill half-way
            f"MaxStartups {self.max_startups}",
            "LogLevel VERBOSE",
        ]
        if _version() >= (9, 8):
            lines.append("PerSourcePenalties no")  # tests that knock with a wrong key are not an attack
        return "\n".join(lines) + "\n"

    @property
    def daemon(self) -> int | None:
        """The pid of the sshd that listens, None while it is stopped."""
        return None if self._process is None else self._process.pid

    def sessions(self) -> list[psutil.Process]:
        """Return the processes that serve connections now, and all that they started."""
        if self._process is None:
            return []
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def stop(self, sessions: bool = True) -> None:
        """Stop listening; with `sessions` also kill what serves connections, and what that started."""
        left = self.sessions() if sessions else []
        if self._process is not None:
            end(self._process)
            self._process = None
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        deadline = time.monotonic() + _GONE_SECONDS
        while not all(is_gone(process) for process in left) and time.monotonic() < deadline:
            time.sleep(0.005)

    def restart(self) -> None:
        """Stop and start it on the same port: every connection is cut."""
        self.stop()
        self.start()


def public_half(key: Path) -> str:
    """Return the public half of a private key that `make_key` made, without its comment."""
    return " ".join(Path(f"{key}.pub").read_text().split()[:2])


def is_gone(process: psutil.Process) -> bool:
    """Tell whether a process has ended, also if nobody has asked for its status yet (a zombie)."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def free_port(address: str = "127.0.0.1") -> int:
    """Return a TCP port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _listens(process: subprocess.Popen[bytes], log: Path, port: int) -> bool:
    """Wait until sshd says that it listens; False if it ends or says nothing for too long."""
    deadline = time.monotonic() + _READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if f" port {port}.\n" in log.read_text(errors="replace"):
            return True
        time.sleep(0.01)
    return False


def _quoted(command: str) -> str:
    escaped = command.replace('"', '\\"')
    return f'"{escaped}"'


def _version() -> tuple[int, int]:
    # The client and the server come from one source and are installed together.
    said = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr
    match = re.search(r"OpenSSH_(\d+)\.(\d+)", said)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def _root_is_locked() -> bool:
    """Tell whether this is root, with a password that sshd without PAM takes for a locked account."""
    if os.geteuid() != 0:
        return False
    lines = Path("/etc/shadow").read_text().splitlines()
    return any(line.startswith("root:!") for line in lines)


def _make_privilege_separation_directory() -> None:
    # sshd as root refuses to start without it; the service makes it, and a container has no service.
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, parents=True, exist_ok=True)
