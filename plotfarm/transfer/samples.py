"""A random sample of a part's bytes: hashed on their way in, and read back from the drive before it is published.

The places are chosen before the first byte arrives, by nobody who sends them. They lie one in each stretch of the part,
so that damage as long as two stretches (100 MiB with what is built in) never escapes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from blake3 import blake3

from plotfarm.transfer.direct_io import BLOCK_BYTES, DirectFile
from plotfarm.transfer.hashing import chunk_buffer

# Large enough that a hard disk reads and does not only seek: with 256 KiB it would seek four times as often.
SAMPLE_BYTES = 1024 * 1024
FRACTION = 0.02


@dataclass(frozen=True)
class Sample:
    """A block of a part and the hash of what it is to hold."""

    offset: int
    length: int
    hash: str  # 64 hex digits


class SampleDiffers(Exception):
    """The drive gives back other bytes at `offset` than were written there."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        super().__init__(f"the drive gives back other bytes at {offset} than were written there")


class Sampler:
    """Chooses blocks in the bytes from `begin` to `size` of a part, and hashes them as they pass.

    About `fraction` of all bytes, and always the block with the last one.
    """

    def __init__(
        self,
        begin: int,
        size: int,
        *,
        fraction: float = FRACTION,
        sample_bytes: int = SAMPLE_BYTES,
        choice: random.Random | None = None,
    ) -> None:
        """Choose; `choice` is a source of randomness, the system's if there is none."""
        self._places = _choose(begin, size, fraction, sample_bytes, choice or random.SystemRandom())
        self._next = 0  # the index of the place that is not complete yet
        self._current = blake3()
        self._passed = begin  # the offset up to which bytes were fed
        self._samples: list[Sample] = []

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The samples that are complete, in the order of the file."""
        return tuple(self._samples)

    def feed(self, offset: int, chunk: memoryview) -> None:
        """Let the next bytes of the part pass; they follow on those before."""
        if offset != self._passed:
            raise ValueError(f"bytes at {offset} do not follow on {self._passed}")
        self._passed = end = offset + len(chunk)

        while self._next < len(self._places):
            begin, length = self._places[self._next]
            if begin >= end:
                return
            self._current.update(chunk[max(begin - offset, 0) : begin + length - offset])
            if begin + length > end:
                return
            self._samples.append(Sample(begin, length, self._current.hexdigest()))
            self._current = blake3()
            self._next += 1


def check_samples(
    descriptor: int, samples: Sequence[Sample], on_progress: Callable[[int], None] = lambda done: None
) -> None:
    """Read the samples back from the drive and compare them. SampleDiffers if one does, DiskError if it cannot be read.

    Have the file fsynced before. `on_progress` is called after each sample with the number of bytes read so far.
    """
    if not samples:
        return
    buffer = chunk_buffer(max(sample.length for sample in samples) + 2 * BLOCK_BYTES)
    done = 0
    with DirectFile(descriptor) as file:
        for sample in samples:
            chunk = file.read(buffer, sample.offset, sample.length)
            if blake3(chunk).hexdigest() != sample.hash:
                raise SampleDiffers(sample.offset)
            done += sample.length
            on_progress(done)


def _choose(
    begin: int, size: int, fraction: float, sample_bytes: int, choice: random.Random
) -> tuple[tuple[int, int], ...]:
    """Return offset and length of one block in each stretch, and of the last block; blocks begin at multiples."""
    first = begin // sample_bytes
    count = -(-size // sample_bytes) - first  # of blocks that have bytes which will pass
    if count <= 0 or begin >= size:
        return ()
    stretch = max(1, round(1 / fraction))
    chosen = {choice.randrange(start, min(start + stretch, count)) for start in range(0, count, stretch)} | {count - 1}

    places = []
    for block in sorted(chosen):
        block_begin = max(begin, (first + block) * sample_bytes)
        block_end = min(size, (first + block + 1) * sample_bytes)
        places.append((block_begin, block_end - block_begin))
    return tuple(places)
