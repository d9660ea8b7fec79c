"""A stolen plotter key, in fast motion: everything that it can be used for at once, while an honest plotter goes on.

What the key may cost its owner: no byte of another's plot, its own quota of room (parts included), 64 MB of memory a
session, 100 MB on the system disk, and less than half of the honest plotters' speed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from evil_plotter import (
    ADDRESS,
    LEAST_KEPT_BYTES,
    MIB,
    SHORT_SEGMENTS,
    EvilPlotter,
    Watcher,
    content,
    flood,
    name,
    shorten_segments,
    steal_key,
    system_disk_bytes,
)
from farm_help import audit, logs, names_and_digests, processes_of, transfers, wait_for

from testbed.farm import Farm
from testbed.plots import CHECKOUT, v1_name

NewFarm = Callable[..., Farm]
QUOTA_BYTES = 128 * MIB
MOST_MEMORY_BYTES = 64 * 10**6
MOST_DISK_BYTES = 100 * 10**6
HONEST_BYTES = 12 * MIB
HONEST_SPEED = 3.0  # MB/s: as a plot of 100 GiB it is minutes longer on its way than anybody may stand still
SETTINGS = {"transfer.stall_seconds": 4, "transfer.max_mb_per_second": HONEST_SPEED, "drives.probe_seconds": 10}
NAS_SETTINGS = {
    "receiving.daily_quota": QUOTA_BYTES,
    "receiving.yield_seconds": 1,
    "receiving.lowest_mb_per_second": 1,
    "transfer.max_mb_per_second": 0,
}


# ---- What the thief does ----------------------------------------------------------------------------


class Thief:
    """Everything that the key can be used for, each in a thread, again and again until `is_over`."""

    def __init__(self, farm: Farm, honest: list[str], knocks: str) -> None:
        self.farm = farm
        self._knocks = knocks
        self._plotter = EvilPlotter(farm, steal_key(farm))
        self._honest = honest  # names of plots that are not his
        self._numbers = itertools.count()
        self.is_over = threading.Event()
        self.done: dict[str, int] = {}
        deeds = [
            self.take_all_room,
            self.leave_parts,
            self.leave_parts,
            self.drip,
            self.drip,
            self.drip,
            self.drip,
            self.flood,
            self.ask_without_end,
            self.send_another_plot,
            self.reject_everything,
            self.claim_what_is_not_his,
            self.knock_at_the_ports,
            self.hold_sessions,
            self.say_nothing,
        ]
        self._threads = [threading.Thread(target=self._again_and_again, args=(deed,), daemon=True) for deed in deeds]

    def __enter__(self) -> Thief:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *ignored: object) -> None:
        self.is_over.set()
        for thread in self._threads:
            thread.join()

    def _again_and_again(self, deed: Callable[[], None]) -> None:
        while not self.is_over.is_set():
            with contextlib.suppress(OSError, TimeoutError, TypeError, KeyError):  # the NAS has ended the session
                deed()
            self.done[deed.__name__] = self.done.get(deed.__name__, 0) + 1

    def _name(self) -> str:
        return name(str(next(self._numbers)))

    def take_all_room(self) -> None:
        """Store plots until the quota is used up, and try on."""
        with self._plotter.session() as sender:
            for _ in range(10):
                sender.deliver(self._name(), content(next(self._numbers), 5 * MIB))

    def leave_parts(self) -> None:
        """Leave parts of all kinds: of other names, of one name with other sizes, with and without a resume."""
        plot = random.choice([self._name(), name("same")])
        whole = content(7, 6 * MIB + next(self._numbers))
        for _ in range(2):
            self._plotter.leave_part(plot, whole, LEAST_KEPT_BYTES + random.randrange(4 * MIB))

    def drip(self) -> None:
        """Hold a drive with a plot that hardly comes."""
        with self._plotter.session() as sender:
            ready = sender.offer(self._name(), 30 * MIB, patience_seconds=10)
            with sender.connect(ready or {}) as data:
                data.settimeout(1)
                while not self.is_over.wait(0.2) and not sender.is_over():
                    data.sendall(b"\x07" * 2000)
                    sender.say(type="heartbeat", phase="pouring")

    def flood(self) -> None:
        """Say more than anybody wants to hear."""
        line = random.choice(
            [b'{"type": "sent", "attempt": 9, "size": 5}\n', b"x" * 900, b'{"type": "ask", "size": 1}\n']
        )
        with self._plotter.session() as sender:
            sender.offer(self._name(), 5 * MIB)
            flood(sender, line, 100 * MIB, 5)

    def ask_without_end(self) -> None:
        """Offer in dry runs and under impossible names, with texts for the owner."""
        with self._plotter.session() as sender:
            for _ in range(100):
                if self.is_over.is_set():
                    return
                text = f"\x1b]0;{next(self._numbers)}\x07" + "call now " * 15
                sender.offer(self._name(), MIB, is_dry_run=True, plot_directory=text, free_bytes=1)
                sender.offer(text, MIB, plot_directory=text, free_bytes=1)
                sender.say(type="ask", size=random.randrange(1, 2**43))
                sender.hear()

    def send_another_plot(self) -> None:
        """Send bytes that are not those of the plot that was offered."""
        with self._plotter.session() as sender:
            ready = sender.offer(self._name(), 3 * MIB, "v1", id="ab" * 32)
            sender.send(ready or {}, content(1, 3 * MIB))

    def reject_everything(self) -> None:
        """Say of whole plots that they arrived damaged, to have the drives taken out of use."""
        with self._plotter.session() as sender:
            for _ in range(3):
                ready = sender.offer(self._name(), 2 * MIB)
                sender.send(ready or {}, content(1, 2 * MIB))
                sender.say(type="reject", segment=0)
                sender.hear()

    def claim_what_is_not_his(self) -> None:
        """Offer plots of others, with their sizes and with others."""
        with self._plotter.session() as sender:
            for plot in self._honest:
                size = HONEST_BYTES + random.choice([0, 0, 1, -1])
                answer = sender.offer(plot, size, is_dry_run=random.random() < 0.3)
                if answer is not None and answer["type"] == "have":
                    sender.say(type=random.choice(["recheck", "reject", "commit"]), number=1, segment=0)
                    sender.hear()
                elif answer is not None and answer["type"] in ("ready", "partial"):
                    return  # leave, so that its owner is not kept from storing it

    def knock_at_the_ports(self) -> None:
        """Connect to every port, and say something or nothing."""
        held = []
        ports = self.farm.ports if self._knocks == "everywhere" else random.sample(self.farm.ports, 1)
        for port in ports:
            with contextlib.suppress(OSError):
                held.append(socket.create_connection(("127.0.0.1", port), 0.2, (ADDRESS, 0)))
                held[-1].sendall(random.choice([b"", b"0" * 32, os.urandom(5000)]))
        self.is_over.wait(0.2)
        for connection in held:
            connection.close()

    def hold_sessions(self) -> None:
        """Hold as many sessions as there may be, all waiting for a drive."""
        with contextlib.ExitStack() as stack:
            for _ in range(10):
                sender = stack.enter_context(self._plotter.session())
                sender.say(type="ask", size=MIB)
            self.is_over.wait(8)

    def say_nothing(self) -> None:
        """Open sessions without a word."""
        with contextlib.ExitStack() as stack:
            for _ in range(10):
                stack.enter_context(self._plotter.session(hello=None))
            self.is_over.wait(8)


# ---- What it costs ----------------------------------------------------------------------------------


class RoomWatcher(threading.Thread):
    """Measures all the time how many bytes the thief has on the drives, parts and reserved room included."""

    def __init__(self, farm: Farm, honest: list[str]) -> None:
        super().__init__(daemon=True)
        self._farm = farm
        self._honest = tuple(honest)
        self.is_over = threading.Event()
        self.most_bytes = 0

    def run(self) -> None:
        """Measure until it is over."""
        while not self.is_over.wait(0.1):
            taken = 0
            for path in itertools.chain.from_iterable(drive.iterdir() for drive in self._farm.drives):
                if not path.name.startswith(self._honest):
                    with contextlib.suppress(FileNotFoundError):
                        taken += path.stat().st_blocks * 512
            self.most_bytes = max(self.most_bytes, taken)


def put(directory: Path, seed: str) -> Path:
    path = directory / v1_name(seed, k=32)
    path.write_bytes(b"\x07" + random.Random(seed).randbytes(HONEST_BYTES - 1))
    return path


def send_honestly(farm: Farm, seeds: list[str]) -> tuple[dict[str, str], list[float]]:
    """Let the honest plotter send plots; returns the plots and how long each was on its way."""
    for seed in seeds:
        put(farm.plots, seed)
    plots = names_and_digests(farm)
    deadline = time.monotonic() + 60 + 30 * len(seeds)
    while farm.waiting() and time.monotonic() < deadline:
        farm.plot_manager(timeout=30 + 30 * len(seeds), environment=SHORT_SEGMENTS)
    done = [each for each in transfers(farm.plotter) if each.plot in plots and each.ending in ("stored", "have")]
    return plots, [each.seconds for each in done]


def attack(
    farm: Farm, count: int, knocks: str = "everywhere", slower: float = 2.0, quota_bytes: int = QUOTA_BYTES
) -> None:
    """Send plots in peace, then the same number of them while the thief does what he can; check what that cost.

    `slower`: how much longer an honest plot may take meanwhile. `quota_bytes`: as the NAS is configured.
    """
    shorten_segments(farm)
    honest = [v1_name(f"{when} {number}", k=32) for when in ("peace", "war") for number in range(count)]
    before, peace = send_honestly(farm, [f"peace {number}" for number in range(count)])
    assert len(peace) == count, logs(farm)
    disk = system_disk_bytes(farm)
    room = RoomWatcher(farm, honest)
    room.start()
    with Watcher(farm) as watcher, Thief(farm, honest[:count], knocks) as thief:
        wait_for(lambda: len(thief.done) >= 5, "the thief's first deeds")
        begun = time.monotonic()
        meanwhile, war = send_honestly(farm, [f"war {number}" for number in range(count)])
        seconds = time.monotonic() - begun
    room.is_over.set()
    room.join()

    figures = (
        f"deeds {thief.done}; honest plots {statistics.median(peace):.1f} s in peace, {statistics.median(war):.1f} s "
        f"in war (all in {seconds:.0f} s); room {room.most_bytes / 1e6:.1f} of {quota_bytes / 1e6:.1f} MB; memory "
        f"{watcher.most_memory_bytes / 1e6:.1f} MB a process; at most {watcher.most_sessions} sessions; system disk "
        f"{(system_disk_bytes(farm) - disk) / 1e6:.1f} MB"
    )
    print(figures)
    assert farm.waiting() == {}, figures
    assert statistics.median(war) < slower * statistics.median(peace), figures
    assert room.most_bytes <= quota_bytes + MIB, figures  # files take whole blocks
    assert watcher.most_memory_bytes <= MOST_MEMORY_BYTES, figures
    assert watcher.most_sessions <= 16 + 4 + 4, figures
    assert system_disk_bytes(farm) - disk <= MOST_DISK_BYTES, figures
    assert "Traceback" not in farm.nas.log_text()
    wait_for(lambda: not processes_of(farm), "the end of every process", 30)
    stored = {path.name: digest for path, digest in farm.stored().items()}
    assert {plot: stored.get(plot) for plot in before | meanwhile} == before | meanwhile
    others = {plot: digest for plot, digest in stored.items() if plot not in honest}
    audit(farm, before | meanwhile | others, parts=True)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("pipe", ["direct", pytest.param("netcat", marks=pytest.mark.long)])
def test_a_stolen_key(new_farm: NewFarm, pipe: str) -> None:
    farm = new_farm(
        drives=4,
        settings={**SETTINGS, "transfer.pipe": pipe},
        plotter_settings={"plotter.streams": 2},
        nas_settings=NAS_SETTINGS,
    )
    # A netcat takes the first that connects: strangers who are everywhere at once keep it busy, which `direct` is not.
    # On a machine with two cores thief and NAS share the processors: few plots say little of the time that they take.
    attack(farm, 4, "everywhere" if pipe == "direct" else "somewhere", slower=5.0)


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_a_stolen_key_for_long(new_farm: NewFarm) -> None:
    quota_bytes = 2 * 60 * HONEST_BYTES + MIB  # for the honest plots, which are as many in peace and in war
    farm = new_farm(
        drives=4,
        settings={**SETTINGS, "transfer.pipe": "direct"},
        plotter_settings={"plotter.streams": 2},
        nas_settings={**NAS_SETTINGS, "receiving.daily_quota": quota_bytes},
    )
    attack(farm, 60, quota_bytes=quota_bytes)


def test_the_logs_of_a_receiver_have_an_end() -> None:
    """However much a thief has written there, this is what the system disk gives to it."""
    handlers = yaml.safe_load((CHECKOUT / "logging.yaml").read_text())["handlers"]
    sizes = [each["max_bytes"] * (1 + each["backups"]) for each in handlers.values() if "max_bytes" in each]
    assert len(sizes) == 6
    assert sum(sizes) < MOST_DISK_BYTES * 0.8
