"""What goes wrong at random while plots travel: processes, drives, the wire and people, each fault with its name."""

from __future__ import annotations

import contextlib
import errno
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence

import psutil

from testbed.fault_library import SYNCS, WRITES, Action, FaultLibrary, Rule
from tests.faults.local_scene import LocalScene
from tests.faults.people import People
from tests.faults.scene import Scene, resume
from tests.faults.wire import Fault, Harm
from tests.faults.wired_scene import WiredScene

_PART, _PLOT = "*.part", "*/drive*/*.plot"
_LONGEST_PAUSE = 0.15  # between two faults, seconds

# What a drive may answer, and to which call: (name, calls, of which files, action, errno)
_ANSWERS: Sequence[tuple[str, Sequence[str], str, Action, int]] = (
    ("fsync EIO", SYNCS, _PART, Action.FAIL, errno.EIO),
    ("fsync EIO, bytes gone", SYNCS, _PART, Action.LOSE, errno.EIO),
    ("fsync ENOSPC", SYNCS, _PART, Action.FAIL, errno.ENOSPC),
    ("fsync of directory EIO", SYNCS, "*/drive?", Action.FAIL, errno.EIO),
    ("fsync of plot EIO", SYNCS, _PLOT, Action.FAIL, errno.EIO),
    ("write EIO", WRITES, _PART, Action.FAIL, errno.EIO),
    ("write ENOSPC", WRITES, _PART, Action.FAIL, errno.ENOSPC),
    ("fallocate ENOSPC", ("fallocate",), _PART, Action.FAIL, errno.ENOSPC),
    ("ftruncate EIO", ("ftruncate",), _PART, Action.FAIL, errno.EIO),
    ("read of part EIO", ("pread",), _PART, Action.FAIL, errno.EIO),
    ("read of plot EIO", ("pread",), _PLOT, Action.FAIL, errno.EIO),
    ("link EIO", ("link",), _PLOT, Action.FAIL, errno.EIO),
    ("link EPERM", ("link",), _PLOT, Action.FAIL, errno.EPERM),
    ("link EROFS", ("link",), _PLOT, Action.FAIL, errno.EROFS),
    ("unlink of part EIO", ("unlink",), _PART, Action.FAIL, errno.EIO),
    ("close EIO", ("close",), _PART, Action.FAIL, errno.EIO),
    ("no attributes", ("fsetxattr",), _PART, Action.FAIL, errno.EOPNOTSUPP),
)


class Chaos:
    """Lets faults happen in a scene; `tally` counts those that did, by name."""

    def __init__(self, made: Scene, chance: random.Random) -> None:
        self.made = made
        self.chance = chance
        self.tally: Counter[str] = Counter()
        self.history: list[str] = []  # of this round, for the message of a failing test
        self._libraries = 0
        self._armed: list[tuple[str, FaultLibrary, Rule]] = []
        self._wire_faults: list[Fault] = []
        self._people = People(made, chance)

    # ---- One run ----

    def run(self) -> None:
        """Let one run of the script go wrong in several ways, and wait until all has ended by itself."""
        self._arm()
        self.made.start()
        self._happen_while_it_runs()
        self.made.rest()
        self.made.status()
        self._disarm()
        self.made.lift_quarantine()  # else soon there was no drive left
        if self.chance.random() < 0.5:
            self._do_something_to_what_is_left()

    def _happen_while_it_runs(self) -> None:
        run = self.made.run
        assert run is not None
        most = self.chance.choice((0, 2, 4, 6, 8))  # with none, what was armed has the time to happen
        begun = time.monotonic()
        is_early = self.chance.random() < 0.25
        while not is_early and run.poll() is None and not self.made.parts() and time.monotonic() - begun < 5:
            time.sleep(0.02)  # until plots are on their way
        while run.poll() is None and most and time.monotonic() - begun < 10:
            most -= self._do(self.chance.choice(self._immediate()))
            time.sleep(self.chance.uniform(0, _LONGEST_PAUSE))

    def _immediate(self) -> Sequence[tuple[str, Callable[[], bool]]]:
        return [
            ("kill", self._kill),
            ("kill", self._kill),
            ("kill", self._kill),
            ("kill of everybody", self._kill_everybody),
            ("stop for a moment", self._stop_for_a_moment),
            *([("stop", self._stop)] if self.chance.random() < 0.2 else []),
            ("rm part", self._people.remove_part),
            ("truncate part", self._people.truncate_part),
            ("mv part", self._people.move_part),
            ("cp part", self._people.copy_part),
            ("touch source", self._people.touch_source),
            ("mv source and back", self._people.move_source_and_back),
            ("cp source over itself", self._people.replace_source),
            ("mv plot to another drive", self._people.move_stored),
        ]

    def _do(self, fault: tuple[str, Callable[[], bool]]) -> bool:
        """Let a fault happen if it can; tells whether it did."""
        name, happen = fault
        happened = False
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
            happened = happen()
        if happened:
            self._note(name)
        return happened

    def _note(self, name: str, count: int = 1) -> None:
        self.tally[name] += count
        self.history.append(name)

    # ---- Processes ----

    def _kill(self) -> bool:
        roles = self.made.roles()
        if not roles:
            return False
        role = self.chance.choice(sorted(roles))
        self.chance.choice(roles[role]).kill()
        self.history.append(role)
        return True

    def _kill_everybody(self) -> bool:
        victims = self.made.processes()
        for process in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        for process in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return bool(victims)

    def _stop(self) -> bool:
        """Stop a process until the others have noticed, or at the end of the run."""
        processes = self.made.processes()
        if not processes:
            return False
        self.chance.choice(processes).suspend()
        return True

    def _stop_for_a_moment(self) -> bool:
        processes = self.made.processes()
        if not processes:
            return False
        victim = self.chance.choice(processes)
        victim.suspend()
        time.sleep(self.chance.uniform(0, 0.5))
        resume(victim)
        return True

    def _do_something_to_what_is_left(self) -> None:
        deeds = [
            ("rm part", self._people.remove_part),
            ("cp part", self._people.copy_part),
            ("mv plot to another drive", self._people.move_any_stored),
            ("dd over dead part", self._people.overwrite_part),
            ("truncate dead part", self._people.truncate_dead_part),
            ("rm -r state", self._people.lose_database),
        ]
        self._do(self.chance.choice(deeds))

    # ---- Drives and the wire ----

    def _arm(self) -> None:
        answers = self.chance.sample(_ANSWERS, self.chance.choice((0, 1, 1, 2)))
        rules = [
            Rule(calls, pattern, action, number, first=self.chance.choice((1, 1, 2, 3)))
            for _, calls, pattern, action, number in answers
        ]
        self._libraries += 1
        library = FaultLibrary(self.made.farm.root / f"library{self._libraries}", *rules)
        self._armed = [(answer[0], library, rule) for answer, rule in zip(answers, rules, strict=True)]
        if isinstance(self.made, LocalScene):
            self.made.environment |= library.environment
        else:
            self.made.farm.set_nas_environment({**self.made.nas_environment, **library.environment})
        if isinstance(self.made, WiredScene):
            harms = self.chance.choices((Harm.FLIP, Harm.CUT), k=self.chance.choice((0, 0, 1, 1, 2)))
            self._wire_faults = [Fault(harm, self.chance.randrange(4 * 2**20)) for harm in harms]
            self.made.wire.faults = list(self._wire_faults)

    def _disarm(self) -> None:
        for name, library, rule in self._armed:
            if count := library.happened(rule):
                self._note(f"drive: {name}", count)
        if isinstance(self.made, LocalScene):
            self.made.environment = {}
        else:
            self.made.farm.set_nas_environment(self.made.nas_environment)
        if isinstance(self.made, WiredScene):
            hit = self._wire_faults[: len(self._wire_faults) - len(self.made.wire.faults)]
            for fault in hit:
                self._note(f"wire: {fault.harm.name.lower()}")
            self.made.wire.faults = []
        shutil.rmtree(self.made.farm.root / f"library{self._libraries}")
