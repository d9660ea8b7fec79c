"""plotfarm/transfer/pour.py: bytes are hashed and sampled step by step, and written chunk by chunk."""

import os
import socket

import pytest
from blake3 import blake3

from plotfarm.transfer.effects import Stopped
from plotfarm.transfer.outcomes import Failure
from plotfarm.transfer.pour import HEADER_BYTES, Stream, connection_filler, pour, sizes_for

STEP = 4096
CHUNK = 4 * STEP
SEGMENT = 5 * STEP  # a border inside a chunk
SIZE = 11 * STEP + 123
CONTENT = os.urandom(SIZE)


@pytest.fixture
def part(tmp_path):
    descriptor = os.open(tmp_path / "part", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def stream(**changes):
    values = {"size": SIZE, "resumed": (), "segment_bytes": SEGMENT, "is_sampled": True}
    return Stream(**{**values, "chunk_bytes": CHUNK, "step_bytes": STEP, **changes})


def filler(content, asked):
    """Return what fills buffers from `content`, and notes in `asked` at which offset and for how many bytes."""

    def fill(buffer, offset):
        asked.append((offset, len(buffer)))
        came = content[offset : offset + len(buffer)]
        buffer[: len(came)] = came
        return len(came)

    return fill


def segments(content):
    return tuple(blake3(content[begin : begin + SEGMENT]).hexdigest() for begin in range(0, len(content), SEGMENT))


def test_every_byte_is_hashed_sampled_and_written_however_the_steps_fall(part):
    asked, reported = [], []
    poured = pour(filler(CONTENT, asked), part, stream(), reported.append)
    assert os.pread(part, SIZE + 1, 0) == CONTENT
    assert poured.segments == segments(CONTENT)
    assert all(blake3(CONTENT[s.offset : s.offset + s.length]).hexdigest() == s.hash for s in poured.samples)
    assert poured.samples
    assert asked == [(offset, min(STEP, SIZE - offset)) for offset in range(0, SIZE, STEP)]
    assert reported == [CHUNK, 2 * CHUNK, SIZE]


def test_what_was_kept_is_not_asked_for_again(part):
    os.pwrite(part, CONTENT[:SEGMENT], 0)
    asked = []
    kept = segments(CONTENT)[:1]
    poured = pour(filler(CONTENT, asked), part, stream(resumed=kept), lambda done: None)
    assert asked[0][0] == SEGMENT
    assert poured.segments == segments(CONTENT)
    assert os.pread(part, SIZE, 0) == CONTENT


def test_bytes_that_end_in_a_step_are_written_and_said_to_be_too_few(part):
    came = CHUNK + STEP + 100
    with pytest.raises(Stopped) as stopped:
        pour(filler(CONTENT[:came], []), part, stream(), lambda done: None)
    assert stopped.value.failure is Failure.INTERRUPTED
    assert os.pread(part, SIZE, 0) == CONTENT[:came]


def test_the_beginning_is_judged_before_anything_is_written(part):
    judged = []

    def refuse(data):
        judged.append(data)
        return "another plot"

    with pytest.raises(Stopped) as stopped:
        pour(filler(CONTENT, []), part, stream(refuse_header=refuse), lambda done: None)
    assert stopped.value.failure is Failure.WRONG_HEADER
    assert judged == [CONTENT[:CHUNK]]  # all that is in hand, up to what a header may take
    assert CHUNK < HEADER_BYTES
    assert os.fstat(part).st_size == 0


@pytest.mark.parametrize("streams", [1, 8])
def test_sizes_fit_the_writer_and_give_the_header_whole(part, streams):
    reading, writing = os.pipe()
    ends = socket.socketpair()
    try:
        for connection in (reading, ends[0].fileno()):
            chunk_bytes, step_bytes = sizes_for(connection, part, streams)
            assert chunk_bytes % step_bytes == 0
            assert step_bytes % 4096 == 0
            assert chunk_bytes >= HEADER_BYTES
    finally:
        os.close(reading)
        os.close(writing)
        for end in ends:
            end.close()


def test_a_pipe_fills_a_buffer_from_many_writes_and_gives_what_came_when_it_ends():
    reading, writing = os.pipe()
    try:
        fill = connection_filler(reading, STEP)
        for begin in range(0, STEP + 1000, 500):
            os.write(writing, CONTENT[begin : min(begin + 500, STEP + 1000)])
        os.close(writing)
        buffer = memoryview(bytearray(STEP))
        assert (fill(buffer, 0), bytes(buffer)) == (STEP, CONTENT[:STEP])
        assert (fill(buffer, STEP), bytes(buffer[:1000])) == (1000, CONTENT[STEP : STEP + 1000])
    finally:
        os.close(reading)


def test_a_connection_that_ends_gives_what_came():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"x" * 1000)
        theirs.shutdown(socket.SHUT_WR)
        buffer = memoryview(bytearray(STEP))
        assert connection_filler(ours.fileno(), STEP)(buffer, 0) == 1000
        assert bytes(buffer[:1000]) == b"x" * 1000
