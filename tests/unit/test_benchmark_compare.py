"""benchmarks/compare.py: what counts as better or worse than a stored run, and as a broken promise."""

import dataclasses

import pytest

from benchmarks.compare import broken_against_before, broken_promises, compare
from benchmarks.results import (
    AGAINST_BEFORE,
    Measured,
    Record,
    Run,
    Setting,
    Spread,
    UnreadableRecord,
    pairs_table,
    ratios,
    table,
)

ONE = Setting(1, "loopback", False)
FOUR = Setting(4, "veth", False)


def measured(contender, setting=ONE, throughput=(1.0,), cpu=(1.0,)):
    """Return rounds with these ratios to the rounds of `reference`."""
    runs = [Run(10 / speed, 10 / speed + 1, 20 * cost) for speed, cost in zip(throughput, cpu, strict=True)]
    return Measured(contender, setting, tuple(runs))


def reference(setting=ONE, rounds=1):
    return measured("pv-openbsd", setting, [1.0] * rounds, [1.0] * rounds)


def record(*all_measured, size=10**9):
    return Record("a machine", size, all_measured)


def test_spread_is_the_middle_half():
    assert Spread.of([3.0]) == Spread(3.0, 3.0, 3.0)
    assert Spread.of([5.0, 1.0, 2.0, 3.0, 4.0]) == Spread(3.0, 2.0, 4.0)
    assert Spread.of([5.0, 1.0, 2.0, 3.0, 4.0]).width == 2.0


def test_ratios_compare_round_by_round():
    slow_and_fast_machine = [Run(10, 11, 20), Run(1, 2, 2)]
    twice_as_fast_each_time = [Run(5, 6, 10), Run(0.5, 1, 1)]
    found = ratios(twice_as_fast_each_time, slow_and_fast_machine)
    assert (found.throughput.median, found.throughput.width) == (2.0, 0.0)
    assert (found.cpu.median, found.cpu.width) == (0.5, 0.0)


def test_speed_of_the_machine_does_not_count():
    def with_machine(factor):
        runs = {"pv-openbsd": Run(2 * factor, 2, 4 * factor), "netcat": Run(1 * factor, 2, 3 * factor)}
        return record(*(Measured(name, ONE, (run,)) for name, run in runs.items()))

    comparison = compare(with_machine(1), with_machine(8))
    assert [change.verdict for change in comparison.changes] == ["same", "same"]


@pytest.mark.parametrize(
    ("throughput", "cpu", "worse", "better"),
    [
        (1.5, 1.0, ["throughput"], []),
        (2.5, 1.0, [], ["throughput"]),
        (2.0, 1.5, ["CPU"], []),
        (2.0, 0.5, [], ["CPU"]),
        (1.0, 0.5, ["throughput"], ["CPU"]),
        (2.0, 1.0, [], []),
    ],
)
def test_less_throughput_and_more_cpu_are_worse(throughput, cpu, worse, better):
    then = record(reference(), measured("direct", throughput=[2.0], cpu=[1.0]))
    comparison = compare(then, record(reference(), measured("direct", throughput=[throughput], cpu=[cpu])))
    assert [change.what for change in comparison.those("worse")] == worse
    assert [change.what for change in comparison.those("better")] == better


@pytest.mark.parametrize(
    ("then", "now", "verdict"),
    [
        ([2.0, 2.0, 2.0, 2.0, 2.0], [1.8, 1.8, 1.8, 1.8, 1.8], "worse"),
        ([1.6, 1.8, 2.0, 2.2, 2.4], [1.8, 1.8, 1.8, 1.8, 1.8], "same"),  # then the rounds were too far apart
        ([2.0, 2.0, 2.0, 2.0, 2.0], [1.4, 1.6, 1.8, 2.0, 2.2], "same"),  # now they are
        ([1.6, 1.8, 2.0, 2.2, 2.4], [1.5, 1.5, 1.5, 1.5, 1.5], "worse"),
        ([2.0, 2.0, 2.0, 2.0, 0.1], [1.8, 1.8, 1.8, 1.8, 9.9], "worse"),  # one odd round hides nothing
    ],
)
def test_more_than_the_spread_of_either_run(then, now, verdict):
    cpu = [1.0] * 5
    before = record(reference(rounds=5), measured("direct", throughput=then, cpu=cpu))
    after = record(reference(rounds=5), measured("direct", throughput=now, cpu=cpu))
    assert compare(before, after).changes[0].verdict == verdict


def test_runs_may_have_different_rounds():
    before = record(reference(rounds=3), measured("direct", throughput=[2.0] * 3, cpu=[1.0] * 3))
    after = record(reference(rounds=1), measured("direct", throughput=[2.0], cpu=[1.0]))
    assert not compare(before, after).those("worse")


def test_only_the_same_combination_is_compared():
    busy = dataclasses.replace(ONE, busy=True)
    veth = dataclasses.replace(ONE, network="veth")
    then = record(reference(), reference(busy), measured("direct"), measured("scp"), measured("direct", busy))
    now = record(reference(), reference(veth), measured("direct"), measured("socat"), measured("direct", veth))
    comparison = compare(then, now)
    assert {(change.contender, change.setting) for change in comparison.changes} == {("direct", ONE)}
    assert comparison.missing == ("scp, 1 stream, loopback, idle", "direct, 1 stream, loopback, all cores busy")
    assert comparison.added == ("socat, 1 stream, loopback, idle", "direct, 1 stream, veth, idle")


def test_words_of_a_comparison():
    then = record(reference(), measured("direct", throughput=[2.0], cpu=[0.5]), measured("scp"))
    now = record(reference(), measured("direct", throughput=[1.5], cpu=[0.4]), size=5)
    words = str(compare(then, now)).splitlines()
    assert words == [
        "Note: the runs sent files of different sizes, and what is fixed counts more with small ones.",
        "Worse by more than the spread of either run:",
        "  direct, 1 stream, loopback, idle: throughput 1.50 of the reference now, 2.00 then: worse by 0.50 "
        "(spread 0.00 now, 0.00 then)",
        "Better by more than the spread of either run:",
        "  direct, 1 stream, loopback, idle: CPU 0.40 of the reference now, 0.50 then: better by 0.10 "
        "(spread 0.00 now, 0.00 then)",
        "Missing, measured only then:",
        "  scp, 1 stream, loopback, idle",
    ]


def test_nothing_in_common_is_said():
    assert str(compare(record(), record())) == "Nothing was measured in both runs."


def test_record_survives_storing():
    stored = record(reference(FOUR, 2), measured("direct", FOUR, [1.0, 2.0], [1.0, 0.5]))
    assert Record.from_json(stored.to_json()) == stored


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"head": "x", "bytes": 1, "runs": {}}', '{"head": "", "bytes": 1, "measured": 5}',
        '{"head": "", "bytes": 1, "measured": [{"contender": "scp", "setting": {"streams": 1}, "runs": [{}]}]}',
        '{"head": "", "bytes": 1, "measured": [{"contender": "scp", "setting": {}, "runs": []}]}',
    ],
)  # fmt: skip
def test_other_files_are_no_records(text):
    with pytest.raises(UnreadableRecord):
        Record.from_json(text)


def kept(**changes):
    """Return a run in which all is as promised, but for `changes`: contender -> (throughput, CPU) or None."""
    wanted = {"direct": (1.6, 0.6), "netcat": (0.9, 1.3), **changes}
    return record(
        reference(), *(measured(name, ONE, [each[0]], [each[1]]) for name, each in wanted.items() if each is not None)
    )


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (kept(), []),
        (kept(direct=(1.59, 0.6)), ["throughput is 1.59 of the reference, promised is at least 1.6"]),
        (kept(direct=(1.6, 0.61)), ["CPU is 0.61 of the reference, promised is at most 0.6"]),
        (kept(netcat=(0.89, 1.31)), ["throughput is 0.89 of", "CPU is 1.31 of the reference, promised is at most 1.3"]),
        (kept(direct=None), ["direct, 1 stream, loopback, idle: not measured"]),
        (record(), ["direct, 1 stream, loopback, idle: not measured", "netcat, 1 stream, loopback, idle: not"]),
    ],
)
def test_what_is_promised_at_one_stream(run, words):
    broken = broken_promises(run)
    assert len(broken) == len(words)
    assert all(word in line for word, line in zip(words, broken, strict=True))


@pytest.mark.parametrize(
    ("setting", "sink", "direct", "broken"),
    [
        (FOUR, 2.0, 2.0, 0),
        (FOUR, 2.0, 1.9, 1),
        (FOUR, 2.0, None, 1),
        (FOUR, None, 0.1, 0),
        (dataclasses.replace(FOUR, streams=2), 2.0, 1.9, 0),
        (dataclasses.replace(FOUR, busy=True), 2.0, 1.9, 0),
    ],
)
def test_direct_is_not_slower_than_plot_sink(setting, sink, direct, broken):
    many = [
        measured(name, setting, [throughput])
        for name, throughput in (("plot-sink", sink), ("direct", direct))
        if throughput is not None
    ]
    run = kept()
    assert len(broken_promises(record(*run.measured, reference(setting), *many))) == broken


def test_table_has_a_row_for_each_contender():
    lines = table([reference(), measured("direct", throughput=[2.0], cpu=[0.5])], 10**9).splitlines()
    assert lines[2] == (
        "| `pv` into `nc` (OpenBSD) | 0.10 | 0.10-0.10 | 1.00 (1.00-1.00) | 20.00 | 1.00 (1.00-1.00) | 0.09 | 0.00 |  |"
    )
    assert lines[3].startswith("| Chia Plot Manager, `pipe = direct` | 0.20 | 0.20-0.20 | 2.00 (2.00-2.00) | 10.00 |")


NOTHING = Run(0.0, 0.0, 0.0)


def against_before(now, before, fixed=NOTHING):
    """Return a run of `direct` and of the version before, with these ratios to the reference and this fixed cost."""
    return [
        dataclasses.replace(measured(name, ONE, [throughput], [cost]), fixed=(fixed,))
        for name, (throughput, cost) in (("direct", now), ("before-direct", before))
    ]


def test_fixed_cost_is_taken_off_each_round_but_never_all_of_it():
    (run,) = against_before((1.0, 1.0), (1.0, 1.0), Run(4.0, 5.0, 15.0))[0].net
    assert (run.journey, run.process, run.cpu) == (6.0, 6.0, 5.0)
    (run,) = against_before((1.0, 1.0), (1.0, 1.0), Run(40.0, 50.0, 150.0))[0].net
    assert min(run.journey, run.process, run.cpu) > 0


def test_pairs_table_compares_round_by_round_with_and_without_the_fixed_cost():
    runs = against_before((2.0, 0.5), (1.0, 1.0), Run(2.0, 2.0, 5.0))
    lines = pairs_table(runs, AGAINST_BEFORE, 10**9).splitlines()
    assert len(lines) == 3
    assert "100 -> 200 | **2.00 (2.00-2.00)** | 20.00 -> 10.00 | **0.50 (0.50-0.50)**" in lines[2]
    assert "125 -> 333 | **2.67 (2.67-2.67)** | 15.00 -> 5.00 | **0.33 (0.33-0.33)**" in lines[2]
    assert pairs_table(runs, {"netcat": "before-netcat"}, 10**9) == ""


@pytest.mark.parametrize(
    ("now", "on_drives", "broken"),
    [
        ((0.98, 1.02), False, 0),
        ((0.96, 1.02), False, 1),
        ((0.96, 1.04), False, 2),
        ((0.5, 0.84), True, 0),  # a drive's speed says nothing
        ((0.98, 0.86), True, 1),
    ],
)
def test_promises_against_the_version_before(now, on_drives, broken):
    run = record(*against_before(now, (1.0, 1.0)))
    assert len(broken_against_before(run, on_drives=on_drives)) == broken


def test_fixed_costs_are_stored():
    run = record(*against_before((1.0, 1.0), (1.0, 1.0), Run(4.0, 5.0, 15.0)))
    assert Record.from_json(run.to_json()) == run
