"""The number of plots that Chia farms, from its log of every version."""

from __future__ import annotations

import gzip
import os
import time
from datetime import datetime
from pathlib import Path

import pytest

from plotfarm.chia.farm_log import Farmed, Unreadable, farmed

LOGS = Path(__file__).parents[1] / "data/chia_logs"
NOISE = "2026-11-24T01:02:03.004 2.7.3 full_node full_node_server : INFO     -> new_peak to peer 1.2.3.4\n"
TOTALS = {
    "1.0": ("21:12:29.000 harvester src.harvester.harvester : INFO     1 plots were eligible for farming "
            "4071d7429c... Found 0 proofs. Time: 0.14301 s. Total 365 plots\n", datetime(2024, 1, 4, 21, 12, 29)),
    "1.2": ("2024-01-04T21:12:29.000 harvester chia.harvester.harvester: INFO     1 plots were eligible for farming "
            "4071d7429c... Found 0 proofs. Time: 0.14301 s. Total 365 plots\n", datetime(2024, 1, 4, 21, 12, 29)),
    "1.3 refresh": ("2024-01-04T21:12:21.000 harvester chia.harvester.harvester: INFO     _plot_refresh_callback: "
                    "event done, loaded 0, removed 0, processed 365, remaining 0, duration: 0.12 seconds, "
                    "total plots: 365\n", datetime(2024, 1, 4, 21, 12, 21)),
    "2.4.4": ("2024-01-04T21:12:29.000 2.4.4 harvester chia.harvester.harvester: INFO     1 plots were eligible for "
              "farming 4071d7429c... Found 0 proofs. Time: 0.14301 s. Total 365 plots\n",
              datetime(2024, 1, 4, 21, 12, 29)),
    "2.7.3": ("2024-01-04T21:12:29.000 2.7.3 harvester chia.harvester.harvester: INFO     challenge_hash: 4071d7429c "
              "...1 plots were eligible for farming challengeFound 0 V1 proofs and 0 V2 qualities. Time: 0.14301 s. "
              "Total 365 plots\n", datetime(2024, 1, 4, 21, 12, 29)),
}  # fmt: skip


def at(log, *moment):
    """Let a log be as if it was written to last at a moment; returns it as Unix time."""
    seconds = datetime(*moment).timestamp()
    os.utime(log, (seconds, seconds))
    return seconds


@pytest.fixture
def log(tmp_path):
    return tmp_path / "debug.log"


@pytest.mark.parametrize("version", TOTALS)
def test_every_version_says_it(log, version):
    line, said = TOTALS[version]
    log.write_text(NOISE + line + NOISE * 3)
    at(log, 2024, 1, 4, 23, 0)
    assert farmed(log) == Farmed(365, None, said.timestamp())


def test_a_line_without_a_date_is_of_the_last_day_that_fits(log):
    log.write_text(TOTALS["1.0"][0])
    at(log, 2024, 1, 5, 20, 0)
    assert farmed(log).said == datetime(2024, 1, 4, 21, 12, 29).timestamp()


@pytest.mark.parametrize("zone", ["+01:00", "+0100"])
def test_a_time_zone_in_the_line_counts(log, zone):
    log.write_text(TOTALS["2.7.3"][0].replace(".000 ", f".000{zone} "))
    assert farmed(log).said == datetime.fromisoformat("2024-01-04T21:12:29+01:00").timestamp()


def test_a_harvester_that_only_counts_its_plots_does_not_farm(log):
    counted = TOTALS["1.3 refresh"][0]
    log.write_text(
        TOTALS["2.7.3"][0] + counted.replace("T21:", "T22:") + counted.replace("T21:", "T23:").replace("365", "366")
    )
    assert farmed(log) == Farmed(366, None, TOTALS["2.7.3"][1].timestamp())
    log.write_text(counted.replace("T21:", "T22:") + counted.replace("T21:", "T23:"))
    assert farmed(log).said == datetime(2024, 1, 4, 22, 12, 21).timestamp(), "it has not farmed since then at least"


def test_zeros_of_a_power_cut_and_a_byte_order_mark_hide_no_total(log):
    line = TOTALS["2.7.3"][0].encode()
    for content in (b"\xef\xbb\xbf" + line, NOISE.encode() + b"\0" * 9999 + line, line[:-1] + b"\0" * 9999 + b"\n"):
        log.write_bytes(content)
        assert farmed(log).plots == 365


def test_what_logrotate_dates_is_read_newest_first(log, tmp_path):
    log.write_text(NOISE)
    line = TOTALS["2.7.3"][0]
    (tmp_path / "debug.log-20240103").write_text(line.replace("365", "200"))
    with gzip.open(tmp_path / "debug.log-20240104.gz", "wt") as file:
        file.write(line.replace("365", "300"))
    (tmp_path / "debug.log-of-mine").write_text(line.replace("365", "400"))
    assert farmed(log).plots == 300


@pytest.mark.parametrize("line", [
    "1" * 300_000, "2024-01-04T21:12:29.000 " + "1.1" * 100_000, "2024-01-04T21:12:29.000 harvester " + ": " * 100_000,
    "plots were eligible for farming " * 9_000, "_plot_refresh_callback: event done " * 9_000, " " * 300_000,
])  # fmt: skip
def test_no_line_takes_longer_than_it_is_long(log, line):
    log.write_text(f"{line}\n" * 20)
    begun = time.process_time()
    assert isinstance(farmed(log), Unreadable)
    assert time.process_time() - begun < 1


def test_the_oldest_versions_also_say_the_size(log):
    log.write_text(
        "21:12:21.000 harvester src.plotting.plot_tools : INFO     Loaded a total of 365 plots of size 36.125 TiB, "
        "in 0.4 seconds\n"
    )
    at(log, 2024, 1, 4, 23, 0)
    said = datetime(2024, 1, 4, 21, 12, 21).timestamp()
    assert farmed(log) == Farmed(365, int(36.125 * 2**40), said)


@pytest.mark.parametrize("path", sorted(LOGS.glob("*.log")), ids=lambda path: path.stem)
def test_the_log_of_each_version(path):
    said = farmed(path)
    assert isinstance(said, Farmed)
    assert said.plots == 412
    assert (datetime.fromtimestamp(said.said).minute, datetime.fromtimestamp(said.said).second) == (15, 42)


def test_the_newest_total_wins(log):
    line = TOTALS["2.7.3"][0]
    log.write_text(line + line.replace("365", "366"))
    assert farmed(log).plots == 366


def test_a_line_that_is_being_written_is_none_yet(log):
    line = TOTALS["2.7.3"][0]
    log.write_text(line + line.replace("365 plots\n", "36"))
    assert farmed(log).plots == 365
    log.write_text(line + line.replace("365 plots\n", "3651 plots"))
    assert farmed(log).plots == 365


@pytest.mark.parametrize("shift", [0, 1, 50, 149, 150, 151])
def test_a_line_across_two_blocks_is_whole(log, shift):
    line = TOTALS["2.7.3"][0]
    log.write_text("x" * 1000 + "\n" + line + "n" * (256 * 1024 - shift - 1) + "\n")
    assert farmed(log) == Farmed(365, None, TOTALS["2.7.3"][1].timestamp())


def test_the_very_first_line_counts(log):
    log.write_text(TOTALS["2.7.3"][0] + NOISE * 5000)
    assert farmed(log).plots == 365


def test_only_the_end_of_a_large_log_is_read(log):
    with open(log, "w") as file:
        file.write(TOTALS["2.7.3"][0])
        file.truncate(50 * 2**20)
    assert isinstance(farmed(log), Unreadable)  # it stands 50 MB back: not looked for
    with open(log, "a") as file:
        file.write("\n" + TOTALS["2.7.3"][0] + NOISE)
    before = os.times().user
    assert farmed(log).plots == 365
    assert os.times().user - before < 0.5


def test_rotated_logs_are_read_newest_first(log, tmp_path):
    log.write_text(NOISE)
    line = TOTALS["2.7.3"][0]
    (tmp_path / "debug.log.2").write_text(line.replace("365", "200"))
    with gzip.open(tmp_path / "debug.log.1.gz", "wt") as file:
        file.write(NOISE + line.replace("365", "300") + NOISE)
    assert farmed(log).plots == 300


def test_a_broken_gzip_costs_only_itself(log, tmp_path):
    log.write_text(NOISE)
    (tmp_path / "debug.log.1.gz").write_bytes(gzip.compress(b"x" * 9999)[:-9])
    (tmp_path / "debug.log.2").write_text(TOTALS["2.7.3"][0])
    assert farmed(log).plots == 365


def test_a_log_of_warnings_says_how_to_change_that(log):
    log.write_text("2024-01-04T21:12:29.000 harvester chia.harvester.harvester: WARNING  Looking up took: 9\n")
    said = farmed(log)
    assert isinstance(said, Unreadable)
    assert "WARNING" in said.why
    assert "chia configure --set-log-level INFO" in said.remedy


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 5000, b"\xff\xfe\n" * 100, b"hello\n", b"Total 5 plots\n", b"x" * 9_000_000]
)
def test_what_is_no_chia_log_is_unknown_and_not_zero(log, content):
    log.write_bytes(content)
    assert isinstance(farmed(log), Unreadable)


def test_what_is_not_there_or_no_file_is_said(log, tmp_path):
    assert "no Chia log" in farmed(log).why
    os.mkfifo(log)
    assert "not a regular file" in farmed(log).why
    assert isinstance(farmed(tmp_path), Unreadable)


def test_words_of_a_peer_are_no_total(log):
    log.write_text(TOTALS["2.7.3"][0] + "  a continuation: 9 plots were eligible for farming x Total 9 plots\n")
    assert farmed(log).plots == 365
