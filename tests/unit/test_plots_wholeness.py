import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from plots_samples import bladebit_header, packed_pointers, plot2, real, v1_header

from plotfarm.plots.header import Header
from plotfarm.plots.plotfile import PlotFileError, judge_whole, look
from plotfarm.plots.wholeness import Activity, Extent, Wholeness, judge

QUIET = Activity(open_for_writing=False, unchanged_seconds=500, settle_seconds=120)
FRESH = Activity(open_for_writing=False, unchanged_seconds=5, settle_seconds=120)
HIDDEN = Activity(open_for_writing=None, unchanged_seconds=5, settle_seconds=120)
SETTLE = 120.0


def write(path: Path, content: bytes, age_seconds: float = 1000.0) -> Path:
    path.write_bytes(content)
    changed = time.time() - age_seconds
    os.utime(path, (changed, changed))
    return path


def verdict(path: Path, settle_seconds: float = SETTLE, **more) -> Wholeness:
    return judge_whole(look(path.parent, path.name), settle_seconds, time.time(), **more)


# The decision


def test_an_exact_size_needs_no_settle_time_unless_a_writer_could_be_hidden() -> None:
    exact = Extent((4000,))
    assert judge(Header("v1"), 4000, exact, FRESH) == Wholeness("whole", "all 4,000 bytes are there")
    assert judge(Header("v1"), 4000, exact, HIDDEN).state == "unfinished"
    settled = Activity(open_for_writing=None, unchanged_seconds=121, settle_seconds=120)
    assert judge(Header("v1"), 4000, exact, settled).is_whole


def test_too_short_is_unfinished_and_says_whether_there_is_hope() -> None:
    growing = judge(Header("v1"), 3999, Extent((4000,)), FRESH)
    assert growing == Wholeness("unfinished", "3,999 of 4,000 bytes are there")
    dead = judge(Header("v1"), 3999, Extent((4000,)), QUIET)
    assert dead.why == ("3,999 of 4,000 bytes are there, and nobody is writing to it: damaged or interrupted")
    assert judge(Header("v1"), 4001, Extent((4000,)), QUIET).state == "damaged"


def test_without_an_exact_size_it_must_rest() -> None:
    assert judge(Header(), 5000, Extent(), QUIET).is_whole
    resting = judge(Header(), 5000, Extent(), FRESH)
    assert resting == Wholeness("unfinished", "changed 5.0 s ago; it must rest for 2 min")
    assert judge(Header("bladebit"), 5000, Extent(least=5001), QUIET).state == "unfinished"
    assert judge(Header("bladebit"), 5001, Extent(least=5001), QUIET).is_whole


def test_an_open_writer_an_empty_file_and_a_damaged_header_come_first() -> None:
    busy = Activity(open_for_writing=True, unchanged_seconds=500, settle_seconds=120)
    assert "open for writing" in judge(Header("v1"), 4000, Extent((4000,)), busy).why
    assert "empty" in judge(Header(), 0, Extent(), QUIET).why
    assert judge(Header(problem="broken"), 9, Extent((9,)), QUIET) == Wholeness("damaged", "broken")
    assert judge(Header("plot2"), 9, Extent(problem="odd"), QUIET) == Wholeness("damaged", "odd")
    small = judge(Header("v1"), 4000, Extent((4000,)), QUIET, minimum_bytes=5000)
    assert "less than 4.9 KiB stay" in small.why


def test_a_time_in_the_future_is_judged_by_what_was_observed() -> None:
    def ahead(observed: float | None) -> Wholeness:
        activity = Activity(False, unchanged_seconds=-3600, settle_seconds=120, observed_seconds=observed)
        return judge(Header(), 5000, Extent(), activity)

    assert ahead(None) == Wholeness("unfinished", "modified 1 h in the future (did the clock jump?)")
    assert ahead(30).state == "unfinished"
    assert ahead(121).is_whole


# The same on files


@pytest.mark.parametrize("kind", ["v1", "gplot"])
def test_a_real_plot_is_whole_at_once(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "a.plot", real(kind), age_seconds=0)
    assert verdict(path).is_whole


@pytest.mark.parametrize("kind", ["v1", "gplot"])
def test_a_real_plot_cut_anywhere_is_unfinished(tmp_path: Path, kind: str) -> None:
    content = real(kind)
    chance = random.Random(kind)
    last = 300 if kind == "gplot" else 40
    cuts = [
        *range(300),
        *range(len(content) - last, len(content)),
        *(chance.randrange(len(content)) for _ in range(40)),
    ]
    path = write(tmp_path / "a.plot", content)
    for cut in sorted(cuts, reverse=True):
        os.truncate(path, cut)
        judged = verdict(path)
        assert judged.state == "unfinished", (cut, judged)
    os.utime(path, (1, 1))
    assert "nobody is writing to it: damaged or interrupted" in verdict(path).why


@pytest.mark.parametrize("kind", ["v1", "gplot"])
@pytest.mark.parametrize("extra", [1, 5000])
def test_a_real_plot_with_more_behind_it_is_damaged(tmp_path: Path, kind: str, extra: int) -> None:
    judged = verdict(write(tmp_path / "a.gplot", real(kind) + bytes(extra)))
    assert judged.state == "damaged"
    assert "longer than its header says" in judged.why


@pytest.mark.parametrize("writer", ["madMAx", "chiapos"])
def test_the_rare_v1_plot_without_a_last_park_is_whole(tmp_path: Path, writer: str) -> None:
    memo = b"m" * 112
    pointers, size, park = packed_pointers(30_001, k=20, memo=memo)
    content = bytearray(size)
    content[: 60 + 112 + 80] = v1_header(pointers, k=20, memo=memo)
    last_park = size - 2 * park
    content[last_park : last_park + 2] = (2400).to_bytes(2, "big")
    end = size - park if writer == "madMAx" else last_park + 2 + 2400
    path = tmp_path / "a.plot"
    assert verdict(write(path, bytes(content[:end]))).is_whole
    assert verdict(write(path, bytes(content))).is_whole
    for wrong in (end - 1, end + 1, last_park + 1, last_park):
        assert verdict(write(path, bytes(content[:wrong]))).state == "unfinished"


def test_the_size_before_the_last_park_is_not_enough_for_other_plots(tmp_path: Path) -> None:
    pointers, size, park = packed_pointers(35_000, k=20)
    content = v1_header(pointers, k=20).ljust(size, b"\1")
    path = tmp_path / "a.plot"
    assert verdict(write(path, content)).is_whole
    assert verdict(write(path, content[: size - park])).state == "unfinished"


def test_a_plot2_is_measured_by_its_last_chunk(tmp_path: Path) -> None:
    content = plot2([b"x" * 4000, b"y" * 3000, b"z" * 20])
    path = tmp_path / "a.plot2"
    assert verdict(write(path, content, age_seconds=0)).is_whole
    assert verdict(write(path, content + b"!")).state == "damaged"
    for cut in range(0, len(content), 1 if len(content) < 3000 else 37):
        judged = verdict(write(path, content[:cut]))
        assert judged.state == "unfinished", (cut, judged)
    for cut in range(len(content) - 60, len(content)):
        assert verdict(write(path, content[:cut])).state == "unfinished"


def test_a_plot2_whose_offsets_are_not_written_or_hostile(tmp_path: Path) -> None:
    content = bytearray(plot2([b"x" * 4000, b"y" * 3000], memo=b"m" * 112))
    last_offset = slice(43 + 112 + 8 + 8, 43 + 112 + 8 + 16)
    path = tmp_path / "a.plot2"
    content[last_offset] = bytes(8)
    assert "not written yet" in verdict(write(path, bytes(content))).why
    content[last_offset] = b"\xff" * 8
    assert verdict(write(path, bytes(content))).state == "unfinished"
    content[last_offset] = b"\x05" + bytes(7)
    assert verdict(write(path, bytes(content))).state == "damaged"


def test_bladebit_and_unknown_plots_are_whole_when_they_rest(tmp_path: Path) -> None:
    tables = [(0, 0), *[(4096 * (i + 1), 4000) for i in range(9)]]
    content = bladebit_header(7, tables).ljust(4096 * 9 + 4000, b"\1")
    path = tmp_path / "a.plot"
    assert verdict(write(path, content)).is_whole
    assert verdict(write(path, content + bytes(96))).is_whole  # rounded up to a block
    assert verdict(write(path, content[:-1])).state == "unfinished"
    assert verdict(write(path, content, age_seconds=10)).state == "unfinished"
    assert verdict(write(path, b"gigahorse" * 1000)).is_whole
    assert verdict(write(path, b"gigahorse" * 1000, age_seconds=10)).state == "unfinished"
    future = write(path, b"gigahorse" * 1000, age_seconds=-9000)
    assert "did the clock jump?" in verdict(future).why
    assert verdict(future, observed_seconds=200).is_whole


def test_a_reserved_plot_full_of_zeros_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.plot"
    with open(path, "wb") as file:
        file.truncate(5 * 2**30)
    os.utime(path, (1, 1))
    assert "begins with zeros" in verdict(path).why


def test_a_sparse_v1_plot_of_more_than_4_gib_is_measured(tmp_path: Path) -> None:
    pointers, size, _ = packed_pointers(4_294_000_000)
    assert size > 2**32
    path = tmp_path / "a.plot"
    path.write_bytes(v1_header(pointers))
    os.truncate(path, size - 1)
    assert verdict(path).state == "unfinished"
    os.truncate(path, size)
    assert verdict(path).is_whole


GROW = """
import sys
with open(sys.argv[1], "ab", buffering=0) as file:
    for line in sys.stdin.buffer:
        file.write(bytes.fromhex(line.decode()))
        print("written", flush=True)
"""


@pytest.mark.parametrize("kind", ["v1", "gplot"])
def test_a_plot_that_another_process_is_writing_is_unfinished_until_it_is_closed(tmp_path: Path, kind: str) -> None:
    content = real(kind)
    path = write(tmp_path / "a.plot", content[:-3])
    command = [sys.executable, "-c", GROW, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for at in (-3, -2, -1):
            process.stdin.write(content[at : at + 1 or None].hex().encode() + b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"written\n"
            os.utime(path, (1, 1))
            assert verdict(path) == Wholeness("unfinished", "a process still has it open for writing")
        process.stdin.close()
    assert path.read_bytes() == content
    assert verdict(path).is_whole


def test_a_plot_that_changed_since_the_look_is_not_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "a.plot", real("v1"))
    plot = look(tmp_path, "a.plot")
    write(tmp_path / "b.plot", real("v1")).rename(path)
    assert judge_whole(plot, SETTLE, time.time()).why == "it changed while it was looked at"
    path.unlink()
    with pytest.raises(PlotFileError, match="No such file"):
        judge_whole(plot, SETTLE, time.time())


def test_mutated_real_headers_never_raise(tmp_path: Path) -> None:
    chance = random.Random(48)
    for content in (real("v1")[:300_000], real("gplot"), plot2([b"x" * 4000, b"y" * 300])):
        path = tmp_path / "a.plot"
        for _ in range(60):
            mutated = bytearray(content)
            for _ in range(chance.randrange(1, 5)):
                mutated[chance.randrange(300)] = chance.choice([0, 255, chance.randrange(256)])
            assert verdict(write(path, bytes(mutated))).state in ("whole", "unfinished", "damaged")
