"""The modelled drive is a claim about Linux: the same random operations run on it and on real file systems.

With --long 10,000 sequences a file system and a seed that is new each time; without, a few hundred and the same seed.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from plotfarm.base.processes import find_program
from testbed.mounts import private_mounts, why_no_mounts
from tests.simulation import scenarios
from tests.simulation.compare import WITH_POWER_CUTS, Plan, compare, model_of, run
from tests.simulation.sequences import Difference
from tests.simulation.wrong import WRONG

SHORT = 300
LONG = 10_000
MEMORY = Path("/dev/shm")
# What shows only where the power is cut, or where reads and writes can pass the page cache.
SEEN_EVERYWHERE = ("link replaces", "lock outlives close", "truncate keeps pages")


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs in a mount namespace of its own."""
    reason = why_no_mounts()
    if reason is not None:
        pytest.skip(reason)
    with private_mounts():
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], check=True)
        yield tmp_path


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory on a tmpfs that is there already."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    kinds = [kind for _, path, kind, *_ in mounts if path == str(MEMORY)]
    if kinds[-1:] != ["tmpfs"]:  # the last one covers the others
        pytest.skip("/dev/shm is no tmpfs here")
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        yield Path(directory)


def _need(kind: str) -> None:
    known = Path("/proc/filesystems").read_text().split()
    if kind not in known:
        pytest.skip(f"this kernel has no {kind} loaded")
    if kind != "tmpfs" and find_program(f"mkfs.{kind}") is None:
        pytest.skip(f"mkfs.{kind} is not installed")


def _check(plan: Plan, directory: Path) -> None:
    print(f"seed {plan.seed}")
    tally = run(plan, directory)
    print(plan.kind, tally)
    assert tally.sequences == plan.sequences
    if plan.kind in WITH_POWER_CUTS:
        assert tally.lost_something > 0
        assert tally.not_enumerable * 100 <= tally.after_power_cut


def test_on_a_directory_in_memory(memory: Path) -> None:
    _check(Plan("directory", SHORT, seed=1), memory)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_long_on_a_directory_in_memory(memory: Path) -> None:
    _check(Plan("directory", LONG, random.SystemRandom().randrange(10**6)), memory)


@pytest.mark.root
@pytest.mark.parametrize("kind", ["tmpfs", "ext4", "xfs", "btrfs"])
def test_on_a_real_file_system(kind: str, base: Path) -> None:
    _need(kind)
    _check(Plan(kind, SHORT, seed=1, cut_every=3), base)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.root
@pytest.mark.parametrize("kind", ["tmpfs", "ext4", "xfs", "btrfs"])
def test_long_on_a_real_file_system(kind: str, base: Path) -> None:
    _need(kind)
    _check(Plan(kind, LONG, random.SystemRandom().randrange(10**6), cut_every=4), base)


@pytest.mark.root
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_block_that_cannot_be_written(kind: str, base: Path) -> None:
    _need(kind)
    if kind == "btrfs" and find_program("btrfs-map-logical") is None:
        pytest.skip("btrfs-map-logical (btrfs-progs) is not installed")
    scenarios.run_bad_block(kind, base, model_of(kind))


@pytest.mark.root
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_drive_that_fills_up(kind: str, base: Path) -> None:
    _need(kind)
    scenarios.run_full(kind, base, model_of(kind))


@pytest.mark.parametrize("wrong", SEEN_EVERYWHERE)
def test_a_wrong_model_is_found_without_mounting(wrong: str, memory: Path) -> None:
    with pytest.raises(Difference):
        compare(Plan("directory", 2000, seed=6, wrong=wrong), memory, None)


@pytest.mark.root
@pytest.mark.parametrize("wrong", sorted(WRONG.keys() - {"nothing", *SEEN_EVERYWHERE}))
def test_a_wrong_model_is_found_by_one_of_the_file_systems(wrong: str, base: Path) -> None:
    kind = "xfs" if wrong == "holes without cache" else "btrfs"
    _need(kind)
    with pytest.raises(Difference):
        run(Plan(kind, 2000, seed=6, cut_every=3, wrong=wrong), base)
