"""Run the same random operations on a modelled and on a real drive, and tell where the two part.

    python -m tests.simulation.compare KIND --sequences N --seed N --directory DIR

KIND is ext4, xfs, btrfs or tmpfs, mounted as root in DIR: begin in a private mount namespace. Or it is `directory`:
DIR itself, which must lie on a tmpfs, without power cuts. Exits with 1 at the first difference, after printing the
seed and the steps that lead to it.
"""

from __future__ import annotations

import argparse
import functools
import random
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.simulation.filesystem import Drive
from tests.simulation.real import ImageDrive, RealDirectory
from tests.simulation.sequences import Difference, Sequence, Tally
from tests.simulation.steps import Side
from tests.simulation.wrong import WRONG

STEPS = 40
BATCH = 25  # sequences that share a power cut
WITHOUT_DIRECT = ("tmpfs", "directory")
WITH_POWER_CUTS = ("ext4", "xfs", "btrfs")


def model_of(kind: str, wrong: str = "nothing") -> Drive:
    """Return an empty modelled drive that behaves as this kind of file system, but for what is `wrong`."""
    drive = WRONG[wrong](capacity=10_000)
    drive.has_direct = kind not in WITHOUT_DIRECT
    drive.is_tmpfs = kind in ("tmpfs", "directory")
    drive.copies_on_write = kind == "btrfs"
    drive.buffers_direct = kind == "btrfs"
    drive.sees_cached_holes = kind in ("ext4", "xfs")
    return drive


@dataclass(frozen=True)
class Plan:
    """What to compare."""

    kind: str
    sequences: int
    seed: int
    cut_every: int = 10  # batches to a power cut
    wrong: str = "nothing"


def compare(plan: Plan, base: Path, image: ImageDrive | None) -> Tally:
    """Run the sequences in the directory `base`; power cuts where `image` can have them. Difference if there is one."""
    tally = Tally()
    has_power_cuts = image is not None and plan.kind in WITH_POWER_CUTS
    for batch in range(-(-plan.sequences // BATCH)):
        is_cut = has_power_cuts and batch % plan.cut_every == plan.cut_every - 1
        running = []
        for place in range(min(BATCH, plan.sequences - batch * BATCH)):
            running.append(_start(plan, base, f"{plan.seed}.{batch}.{place}"))
        _fsync_base(base)
        for sequence in running:
            rng = random.Random(sequence.seed)
            sequence.run(rng.randrange(2, STEPS))
            tally.sequences += 1
            tally.steps += len(sequence.steps)
            if not is_cut:
                sequence.compare_ends()
        if is_cut:
            assert image is not None
            image.cut_power(functools.partial(_close_all, running))
            for sequence in running:
                sequence.check_power_cut(tally)
        _finish(running)
    return tally


def _close_all(running: list[Sequence]) -> None:
    for sequence in running:
        sequence.real.close_all()
        sequence.real.directory.leave()  # type: ignore[union-attr]


def _start(plan: Plan, base: Path, seed: str) -> Sequence:
    path = base / seed
    path.mkdir()
    return Sequence(seed, Side(model_of(plan.kind, plan.wrong)), Side(RealDirectory(path)))


def _fsync_base(base: Path) -> None:
    directory = RealDirectory(base)
    directory.fsync_directory()
    directory.leave()


def _finish(running: list[Sequence]) -> None:
    _close_all(running)
    for sequence in running:
        shutil.rmtree(sequence.path)


def main() -> int:
    """Compare one kind of file system; return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=[*WITH_POWER_CUTS, *WITHOUT_DIRECT])
    parser.add_argument("--sequences", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--directory", type=Path, required=True, help="empty, with room for an image")
    parser.add_argument("--cut-every", type=int, default=10, help="so many batches of sequences to a power cut")
    parser.add_argument("--wrong", choices=sorted(WRONG), default="nothing", help="what the model is to get wrong")
    options = parser.parse_args()
    print(f"{options.kind}: seed {options.seed}", flush=True)
    plan = Plan(options.kind, options.sequences, options.seed, options.cut_every, options.wrong)
    begun = time.monotonic()
    try:
        tally = run(plan, options.directory)
    except Difference as difference:
        print(difference)
        return 1
    print(f"{plan.kind}: {tally} in {time.monotonic() - begun:.1f} s")
    return 0


def run(plan: Plan, directory: Path) -> Tally:
    """Make the file system in `directory` and compare; Difference if there is one."""
    if plan.kind == "directory":
        return compare(plan, directory, None)
    image = ImageDrive(plan.kind, directory)
    tally = compare(plan, image.mountpoint, image)
    image.remove()
    return tally


if __name__ == "__main__":
    sys.exit(main())
