"""Which blocks are sampled, that they are hashed right however the bytes come, and that a wrong one is noticed."""

from __future__ import annotations

import itertools
import os
import random
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from plotfarm.base.disk_error import Call, DiskError
from plotfarm.transfer.samples import SAMPLE_BYTES, Sample, SampleDiffers, Sampler, check_samples

UNIT = 64


def sampled(content: bytes, begin: int, cuts: list[int], seed: int, fraction: float) -> tuple[Sample, ...]:
    sampler = Sampler(begin, len(content), fraction=fraction, sample_bytes=UNIT, choice=random.Random(seed))
    borders = sorted({begin, len(content), *(cut for cut in cuts if begin < cut < len(content))})
    for start, end in itertools.pairwise(borders):
        sampler.feed(start, memoryview(content)[start:end])
    return sampler.samples


@given(
    st.binary(min_size=1, max_size=3000),
    st.integers(0, 3000),
    st.lists(st.integers(0, 3000), max_size=20),
    st.integers(0, 10),
    st.sampled_from([0.02, 0.1, 0.5, 1.0]),
)
def test_samples_are_of_the_bytes_that_passed(
    content: bytes, begin: int, cuts: list[int], seed: int, fraction: float
) -> None:
    begin = min(begin, len(content) - 1)
    samples = sampled(content, begin, cuts, seed, fraction)
    covered = [(sample.offset, sample.offset + sample.length) for sample in samples]
    assert covered == sorted(covered)
    assert covered[-1][1] == len(content), "the last byte is always in a sample"
    assert covered[0][0] >= begin
    assert all(end > start and end - start <= UNIT for start, end in covered)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(covered))
    for sample in samples:
        assert sample.hash == blake3(content[sample.offset : sample.offset + sample.length]).hexdigest()
    if fraction == 1.0:
        assert sum(sample.length for sample in samples) == len(content) - begin


def test_about_two_percent_are_sampled_and_no_long_stretch_is_left_out() -> None:
    """Of a plot of 20 GB, without bytes: only where the samples would lie matters."""
    size = 20 * 10**9
    places = Sampler(0, size)._places
    assert 0.019 < sum(length for _, length in places) / size < 0.021
    starts = [offset for offset, _ in places]
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    assert max(gaps) <= 100 * SAMPLE_BYTES
    assert all(offset % SAMPLE_BYTES == 0 for offset in starts)


@pytest.mark.parametrize("blocks", [1, 2, 49, 50, 51, 100, 149])
def test_the_last_byte_is_always_in_a_sample(blocks: int) -> None:
    content = bytes(blocks * UNIT - 5)
    for seed in range(20):
        last = sampled(content, 0, [], seed, 0.02)[-1]
        assert last.offset + last.length == len(content)


def test_places_differ_from_plot_to_plot() -> None:
    size = 20 * 10**9
    assert Sampler(0, size)._places != Sampler(0, size)._places


def test_bytes_have_to_follow_on_each_other() -> None:
    sampler = Sampler(0, 1000)
    sampler.feed(0, memoryview(bytes(10)))
    with pytest.raises(ValueError, match="follow"):
        sampler.feed(11, memoryview(bytes(10)))


def test_a_sample_is_complete_with_its_last_byte() -> None:
    sampler = Sampler(0, UNIT, sample_bytes=UNIT)
    sampler.feed(0, memoryview(bytes(UNIT - 1)))
    assert sampler.samples == ()
    sampler.feed(UNIT - 1, memoryview(bytes(1)))
    assert sampler.samples == (Sample(0, UNIT, blake3(bytes(UNIT)).hexdigest()),)


def test_reading_back(tmp_path: Path) -> None:
    content = os.urandom(100_000)
    path = tmp_path / "part"
    path.write_bytes(content)
    sampler = Sampler(0, len(content), sample_bytes=4096, fraction=0.1)
    sampler.feed(0, memoryview(content))
    samples = sampler.samples
    progress: list[int] = []
    with open(path, "r+b") as file:
        os.fsync(file.fileno())
        check_samples(file.fileno(), samples, progress.append)
        assert progress[-1] == sum(sample.length for sample in samples)

        victim = samples[1]
        place = victim.offset + victim.length - 1
        os.pwrite(file.fileno(), bytes([content[place] ^ 1]), place)
        os.fsync(file.fileno())
        with pytest.raises(SampleDiffers) as caught:
            check_samples(file.fileno(), samples)
        assert caught.value.offset == victim.offset


def test_a_part_that_was_truncated_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "part"
    path.write_bytes(bytes(5000))
    with open(path, "rb") as file, pytest.raises(DiskError) as caught:
        check_samples(file.fileno(), [Sample(4096, 1000, "")])
    assert caught.value.call is Call.READ


def test_no_samples_are_no_reading() -> None:
    check_samples(-1, [])
