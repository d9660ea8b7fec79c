"""Which scripts are missed: decided on what is recorded of their runs."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from plotfarm.base.config.intervals import parse_intervals
from plotfarm.base.locks import process_started
from plotfarm.base.run_watch import interval_of, intervals, silent
from plotfarm.base.runs import Moment, Run, RunOutcome, ScriptHistory, new_run
from plotfarm.jobs.run_records import mode_of
from plotfarm.reports.last_runs import last_runs, lines

BOOT, BEFORE = "this boot", "the boot before"
MINUTE = 60.0


def at(clock: float, boot: str = BOOT) -> Moment:
    return Moment(1_700_000_000 + clock, clock, boot)


def run(begun: float, script: str = "drive_manager", boot: str = BOOT) -> Run:
    """A run that went well."""
    moment = at(begun, boot)
    return Run(f"{script} {begun}", script, "", True, "1.0", 1, 1, moment, moment, RunOutcome.DONE, 0)


def history(runs: Sequence[Run], unended: Sequence[Run] = ()) -> ScriptHistory:
    """`runs` that ended, oldest first."""
    newest = list(reversed(runs))
    last = max([*runs, *unended], key=lambda one: one.begun.time)
    ended = next((one for one in newest if one.outcome is not RunOutcome.BUSY), None)
    good = next((one for one in newest if one.status == 0 and one.outcome is RunOutcome.DONE), None)
    starts = tuple(one.begun for one in newest if one.scheduled)
    return ScriptHistory(last.script, "", last, ended, good, tuple(unended), starts)


def every(seconds: float, count: int, script: str = "drive_manager", first: float = 1000.0) -> list[Run]:
    return [run(first + number * seconds, script) for number in range(count)]


def missed(one: ScriptHistory, now: float, configured: dict[str, float] | None = None, boot: str = BOOT) -> list[str]:
    watched = intervals([one], configured or {})
    return [each.script for each in silent([one], watched, at(now, boot))]


@pytest.mark.parametrize(
    ("starts", "seconds"),
    [
        ([], None),
        ([0, 60], None),
        ([0, 60, 120], None),
        ([0, 60, 120, 180], 60),
        ([0, 300, 600, 900], 300),
        ([0, 60, 120, 180, 30_000, 30_060, 30_120], 60),  # cron was stopped for a while
        ([0, 1, 2, 3, 4, 5], 60),  # by hand, or by a test
    ],
)
def test_the_interval_is_learnt_from_the_runs(starts: list[float], seconds: float | None) -> None:
    assert interval_of([at(clock) for clock in reversed(starts)]) == seconds


def test_what_lies_between_two_boots_says_nothing() -> None:
    starts = [at(130), at(70), at(10), at(9000, BEFORE), at(8940, BEFORE)]
    assert interval_of(starts) == 60
    assert interval_of(starts[1:3] + starts[3:4]) is None


def test_a_script_is_missed_after_its_intervals_and_not_before() -> None:
    one = history(every(5 * MINUTE, 5))  # the last begins at 2200
    assert missed(one, 2200 + 9 * MINUTE) == []
    assert missed(one, 2200 + 10 * MINUTE + 1) == ["drive_manager"]


def test_a_host_that_was_off_or_slept_misses_nobody() -> None:
    one = history(every(MINUTE, 5))
    assert missed(one, 100, boot="the next boot") == []
    assert missed(one, 121, boot="the next boot") == ["drive_manager"]


def test_a_run_that_failed_has_ended_and_is_told_of_as_such() -> None:
    runs = every(MINUTE, 5)
    failed = replace(run(2000), outcome=RunOutcome.FAILED, status=1)
    assert missed(history([*runs, failed]), 2100) == []


def test_one_that_found_another_at_it_has_done_nothing() -> None:
    runs = every(MINUTE, 5)
    busy = [replace(run(clock), outcome=RunOutcome.BUSY) for clock in (1300, 1360, 1420)]
    assert missed(history([*runs, *busy]), 1430) == ["drive_manager"]


def test_one_that_was_killed_has_not_ended() -> None:
    killed = replace(run(1300), ended=None, outcome=RunOutcome.UNENDED, status=None)
    one = history(every(MINUTE, 5), [killed])
    assert missed(one, 1301) == []
    assert missed(one, 1240 + 121) == ["drive_manager"]


def test_a_transfer_may_take_as_long_as_it_likes_while_it_lives_but_a_choice_may_not() -> None:
    started = process_started(os.getpid())
    assert started is not None
    for script, expected in (("plot_manager", []), ("drive_manager", ["drive_manager"])):
        running = replace(
            run(1300, script), pid=os.getpid(), process_started=started, ended=None, outcome=RunOutcome.UNENDED
        )
        assert missed(history(every(MINUTE, 5, script), [running]), 9000) == expected
        reused = replace(running, process_started=started + 1)
        assert missed(history(every(MINUTE, 5, script), [reused]), 9000) == [script]


def test_only_what_cron_ever_started_is_watched_and_what_is_not_used_any_more_can_be_said() -> None:
    by_hand = history([replace(one, scheduled=False) for one in every(MINUTE, 9)])
    assert missed(by_hand, 99_999) == []
    assert missed(by_hand, 99_999, {"drive_manager": 60.0}) == []
    once = history([run(1000)])
    assert missed(once, 99_999) == [], "too little is known"
    assert missed(once, 99_999, {"drive_manager": 60.0}) == ["drive_manager"]
    assert missed(history(every(MINUTE, 9)), 99_999, {"drive_manager": 0.0}) == []


def test_intervals_are_minutes() -> None:
    assert parse_intervals(["plot_manager: 5", "coin_monitor.py: 0", "drive_manager:0.5"]) == {
        "plot_manager": 300.0, "coin_monitor": 0.0, "drive_manager": 30.0,
    }  # fmt: skip
    for wrong in ("plot_manager", "kill_nc: 5", "plot_manager: -1", "plot_manager 5"):
        with pytest.raises(ValueError, match=re.escape(wrong)):
            parse_intervals([wrong])


def test_a_run_has_an_id_that_heartbeat_services_take() -> None:
    ids = {new_run("drive_manager", "", "1.0").id for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one) for one in ids)


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (run(1820), "last run of drive_manager.py: 3 min ago"),
        (replace(run(1820), status=1), "3 min ago, exit status 1; the last that went well: 13 min 20 s ago"),
        (
            replace(run(1820), ended=None, outcome=RunOutcome.UNENDED, status=None),
            "3 min ago, ended without a word: killed, or this host went down; the last that went well: 13 min 20 s ago",
        ),
        (replace(run(1820), outcome=RunOutcome.BUSY), "another run was at it; the last that went well: 13 min 20 s"),
        (replace(run(1820), outcome=RunOutcome.MISCONFIGURED, status=2), "the configuration could not be used"),
    ],
)
def test_reports_say_when_a_script_ran_last_and_what_became_of_it(last: Run, said: str) -> None:
    unended = [last] if last.ended is None else []
    one = history([run(1200), *([] if unended else [last])], unended)
    [line] = lines(last_runs([one], BOOT), at(2000).time)
    assert said in line


@pytest.mark.parametrize(
    ("arguments", "mode"),
    [
        (["-ct", "--json"], "-ct"),
        (["-ct", "--wide"], "-ct"),
        (["--status", "--watch", "--config=/etc/other"], "--status"),
        (["--config", "/etc/other"], "by hand"),
    ],
)
def test_how_a_report_is_shown_makes_no_other_mode(arguments: list[str], mode: str) -> None:
    assert mode_of(arguments) == mode
