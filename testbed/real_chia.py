"""A real Chia on loopback: a simulated network with wallet, farmer and harvester, and a second wallet that pays.

It lives in a network namespace that has nothing but `lo`, since its full node listens on every address. Chia itself is
in a virtual environment of its own: `.venv-chia`, or what CHIA_VENV names.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from testbed.service import Service

CHECKOUT = Path(__file__).parents[1]
VENV = Path(os.environ.get("CHIA_VENV", CHECKOUT / ".venv-chia"))
VERSION = "2.7.5"
_PORT, _BOB_PORT, _NODE_PORT = 21400, 21500, 21444  # in a network of its own, so that nobody else has them
_STOP_SECONDS = 20.0
_ASK = """
import json, sys
from pathlib import Path
from plotfarm.chia.rpc import Connection, ServiceAddress
root, service, port, method, parameters = sys.argv[1:]
ssl = Path(root) / "config/ssl"
files = (ssl / service / f"private_{service}.crt", ssl / service / f"private_{service}.key", ssl / "ca/private_ca.crt")
print(json.dumps(Connection(ServiceAddress("localhost", int(port), *files, 60.0)).ask(method, json.loads(parameters))))
"""


def why_no_chia() -> str | None:
    """Say why there can be no real Chia here, or None."""
    if os.geteuid() != 0:
        return "a network of its own needs root"
    if not (VENV / "bin" / "chia").exists():
        return f"no Chia in {VENV}: ./install.sh test, without arguments, puts it there where it can be had"
    return None


class RealChia(Service):
    """The network and its services, as a context manager; `root` is the farmer's CHIA_ROOT."""

    def __init__(self, directory: Path, level: str) -> None:
        self.root, self._bob, self._level = directory / "sim", directory / "bob", level
        self._directory = directory
        self.wallet_port = _PORT + 2
        self.harvester_port = _PORT + 5
        self._network = f"chia{os.getpid()}"
        self._is_stopped = False
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Make the roots and run everything but the harvester."""
        subprocess.run(["ip", "netns", "add", self._network], check=True)
        try:
            subprocess.run(["ip", "-n", self._network, "link", "set", "lo", "up"], check=True)
            self._directory.mkdir(parents=True, exist_ok=True)
            self._make(self.root, _PORT, "sim")
            self._make(self._bob, _BOB_PORT, "wallet", str(self.root))
            self.begin("daemon")
            self.begin("node")
            self.until(lambda: self.ask("full_node", "get_blockchain_state") is not None, 90)
            self.begin("wallet")
            self.until(lambda: self.ask("wallet", "get_sync_status") is not None, 60)
            self.farm(1)  # before the first block no wallet says that it is synced
            self.until(self.is_synced, 60)
            self.begin("bobs daemon")
            self.begin("bobs wallet")
            self.until(lambda: self.ask("wallet", "get_sync_status", bob=True) is not None, 60)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything, in Chia's order."""
        if self._is_stopped:
            return
        self._is_stopped = True
        for name in ("harvester", "farmer", "bobs wallet", "wallet", "node", "bobs daemon", "daemon"):
            self.end(name)
        subprocess.run(["ip", "netns", "delete", self._network], check=False)

    def inside(self, *command: str) -> list[str]:
        """Return a command as it has to be run in this network."""
        return ["ip", "netns", "exec", self._network, *command]

    def begin(self, name: str) -> None:
        """Run a service: daemon, node, wallet, farmer, harvester, bobs daemon or bobs wallet."""
        bin_ = VENV / "bin"
        commands = {
            "daemon": [f"{bin_}/chia", "run_daemon"], "bobs daemon": [f"{bin_}/chia", "run_daemon"],
            "node": [f"{bin_}/python", str(CHECKOUT / "testbed/chia_beats.py")], "wallet": [f"{bin_}/chia_wallet"],
            "bobs wallet": [f"{bin_}/chia_wallet"], "farmer": [f"{bin_}/chia_farmer"],
            "harvester": [f"{bin_}/chia_harvester"],
        }  # fmt: skip
        root = self._bob if name.startswith("bobs") else self.root
        with open(self._directory / f"{name}.out", "ab") as out:
            self._running[name] = subprocess.Popen(
                self.inside(*commands[name]), env=self._environment(root), stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip

    def end(self, name: str) -> None:
        """End a service that runs."""
        process = self._running.pop(name, None)
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def ask(self, service: str, method: str, parameters: Mapping[str, object] = {}, *, bob: bool = False) -> Any:
        """Return the answer of a service's RPC, None if there is none."""
        ports = {"full_node": 1, "wallet": 2, "farmer": 4, "harvester": 5}
        port = (_BOB_PORT if bob else _PORT) + ports[service]
        root = self._bob if bob else self.root
        done = subprocess.run(
            self.inside(sys.executable, "-c", _ASK, str(root), service, str(port), method, json.dumps(parameters)),
            capture_output=True, text=True, check=False, cwd=CHECKOUT,
        )  # fmt: skip
        return json.loads(done.stdout) if done.returncode == 0 else None

    def resync_wallet(self) -> None:
        """Let the wallet forget all that it knows, and learn it again."""
        self.end("wallet")
        for file in (self.root / "wallet" / "db").glob("blockchain_wallet_*"):
            file.unlink()
        self.begin("wallet")

    def log_at(self, level: str) -> None:
        """Begin again with an empty log, at another level: daemon, node and wallet."""
        for name in ("harvester", "farmer", "wallet", "node", "bobs wallet", "bobs daemon", "daemon"):
            self.end(name)
        self._chia("configure", "--set-log-level", level)
        for file in (self.root / "log").glob("debug.log*"):
            file.unlink()
        for name in ("daemon", "node", "wallet"):
            self.begin(name)

    def farm(self, blocks: int, address: str = "") -> None:
        """Let blocks be found, for this farmer or for an address."""
        self._chia(
            "dev", "sim", "--root-path", str(self._directory), "-n", "sim", "farm", "-b", str(blocks),
            *(("-a", address) if address else ()),
        )  # fmt: skip

    def reorganise(self, blocks: int, new: int) -> None:
        """Take the newest blocks back, and find others in their place."""
        self._chia(
            "dev", "sim", "--root-path", str(self._directory), "-n", "sim", "revert", "-b", str(blocks), "-n", str(new)
        )

    def address(self, *, bob: bool = False) -> str:
        """Return an address of this farmer's wallet, or of the other one's."""
        return str(self.ask("wallet", "get_next_address", {"wallet_id": 1, "new_address": False}, bob=bob)["address"])

    def pay(self, mojo: int) -> None:
        """Let the other wallet pay this farmer: the payment is in the chain after the next block."""
        self.until(lambda: self.is_synced(bob=True), 60)
        paid = self.ask(
            "wallet", "send_transaction",
            {"wallet_id": 1, "amount": mojo, "fee": 1_000_000, "address": self.address()}, bob=True,
        )  # fmt: skip
        assert paid is not None, (self._directory / "bobs wallet.out").read_text()[-2000:]

    def is_synced(self, *, bob: bool = False) -> bool:
        """Tell whether a wallet knows the whole chain."""
        said = self.ask("wallet", "get_sync_status", bob=bob)
        at = self.ask("wallet", "get_height_info", bob=bob)
        chain = self.ask("full_node", "get_blockchain_state")
        if said is None or at is None or chain is None:
            return False
        peak = chain["blockchain_state"]["peak"]
        return bool(said["synced"]) and at["height"] == (peak["height"] if peak else 0)

    @staticmethod
    def until(is_so: Callable[[], bool], seconds: float) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, "Chia did not come so far"
            time.sleep(0.3)

    def _make(self, root: Path, port: int, kind: str, *more: str) -> None:
        done = subprocess.run(
            [f"{VENV}/bin/python", str(CHECKOUT / "testbed/chia_root.py"), str(root), str(port), str(_NODE_PORT),
             self._level, kind, *more],
            env=self._environment(root), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]

    def _chia(self, *arguments: str) -> None:
        done = subprocess.run(
            self.inside(f"{VENV}/bin/chia", *arguments), env=self._environment(self.root), capture_output=True,
            text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]

    def _environment(self, root: Path) -> dict[str, str]:
        return {**os.environ, "CHIA_ROOT": str(root), "CHIA_KEYS_ROOT": f"{root}-keys", "HOME": str(self._directory),
                "CHIA_PLOT_ROOT": str(self._directory / "plots")}  # fmt: skip
