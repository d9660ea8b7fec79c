#!/usr/bin/env python3
"""How fast a plot's whole journey is, and what it costs, against the bare netcat pipe and other ways to send files.

Everything runs on this machine: the same files, the same run, one contender after the other in every round, so that
whatever else disturbs the machine disturbs them all.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from plotfarm.base.venv import hand_over

hand_over()

import argparse  # noqa: E402
import contextlib  # noqa: E402
import os  # noqa: E402
import random  # noqa: E402
import shutil  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Iterator, Sequence  # noqa: E402

from benchmarks.compare import broken_promises, compare  # noqa: E402
from benchmarks.contenders import AS_SHIPPED, ESSENTIAL, OURS, Bench, known, why_left_out  # noqa: E402
from benchmarks.memory import measure_memory  # noqa: E402
from benchmarks.results import REFERENCE, Measured, Record, Run, Setting, UnreadableRecord, table  # noqa: E402
from benchmarks.surroundings import (  # noqa: E402
    NETWORKS,
    Link,
    all_cores_busy,
    linked_by,
    missing,
    processor,
    rsync_daemon,
)
from testbed.farm import Farm  # noqa: E402
from testbed.network import why_no_separate_host  # noqa: E402

_ABOUT = """\
Sends files of random bytes, named like k32 plots, again and again, and prints a table for each number of streams:

  GB/s          10^9 bytes a second of all files together, the median of all rounds and their range. For Chia Plot
                Manager from the first offer to the last `stored` as the NAS records it: digested at both ends,
                fsynced, published. For the others from the start of the first sending command until both ends
                of all have ended.
  ratio         GB/s against those of the reference in the same round, the median of all rounds and (their middle
                half). The reference is `pv | nc` with the OpenBSD netcat: a pipe that verifies nothing
  CPU s/GB      user and system time of all processes of both ends: what was spent in the children of this
                benchmark and in its sshd and rsync daemon, so other work on the machine does not count, nor does
                what the kernel does in threads of its own
  CPU ratio     the same against that of the reference, as above
  process GB/s  of the whole command, start-up and ssh handshake included: they count less the larger the files

With N streams each contender sends N files at once, each of 1/N of the size, to N drive directories: so many senders
and receivers in parallel, for Chia Plot Manager one run of plot_manager.py, for chia_plot_copy one run with N threads.
The directories are in memory by default, so that no drive hides what the software costs.

--check wants, at 1 stream over loopback on the idle machine: `direct` at least 1.6 times as fast as the reference with
at most 0.6 of its CPU time, `netcat` at least 0.9 times with at most 1.3; and `direct` at least as fast as
chia_plot_sink with 4 streams or more, where that was measured.

--memory sends one file in each of our ways instead, and looks again and again at all processes of plot_manager.py and
receive_plot.sh: the highest VmHWM of one process, and RssAnon + RssShmem, where what forked processes share counts
twice. Then it says how much of the plot is left in the page cache at both ends."""

_EXAMPLES = """\
examples:
  benchmarks/transfer.py                               10 rounds of 2 GiB in /dev/shm (needs 4.1 GiB there)
  benchmarks/transfer.py --streams 1,4,8 --busy --json run.json --check
  benchmarks/transfer.py --streams 1,4,8 --busy --compare run.json
  benchmarks/transfer.py --network veth                from one network namespace to another; needs root
  benchmarks/transfer.py --only netcat,direct          against the reference, which always runs
  benchmarks/transfer.py --directory /mnt/drive7       on a drive
  benchmarks/transfer.py --memory                      what is used and left behind in memory, with a disk in /tmp

exit status: 0 all well, 1 something is missing, has got worse (--compare) or is not as promised (--check)"""

_MOST_STREAMS = 16  # each needs a port of the farm, and a name on a drive of its own
_ROOM = 2.05  # the files twice, and logs


def run_rounds(
    bench: Bench, keys: Sequence[str], rounds: int, order: random.Random, burners: Sequence[int]
) -> dict[str, list[Run]]:
    """Run every contender once a round, in random order; a first round that does not count warms all of them up."""
    contenders = bench.contenders()
    runs: dict[str, list[Run]] = {key: [] for key in keys}
    for number in range(rounds + 1):
        for key in order.sample(keys, len(keys)):
            run = bench.measure(contenders[key], burners)
            if number:
                runs[key].append(run)
            print(f"round {number or 'warm-up'}: {key}: {run.journey:.2f} s", file=sys.stderr)
    return runs


def main() -> int:
    """Read the command line, measure, print."""
    arguments = _arguments()
    try:
        then = Record.from_json(arguments.compare.read_text()) if arguments.compare else None
    except (OSError, UnreadableRecord) as error:
        print(f"{arguments.compare}: {error}", file=sys.stderr)
        return 1
    if reason := _why_impossible(arguments):
        print(reason, file=sys.stderr)
        return 1
    if arguments.memory:
        return measure_memory(arguments.directory, arguments.size, [key for key in OURS if key in arguments.only])
    record = _measure_all(arguments)
    if arguments.json:
        arguments.json.write_text(record.to_json())
    return _judge(record, then, arguments.check)


def _why_impossible(arguments: argparse.Namespace) -> str | None:
    if absent := missing(list(ESSENTIAL)):
        packages = " ".join(ESSENTIAL[program] for program in absent)
        return f"not installed: {', '.join(absent)} (apt-get install {packages})"
    if arguments.network == "veth" and (reason := why_no_separate_host()):
        return reason
    free = shutil.disk_usage(arguments.directory).free
    if free < arguments.size * _ROOM:
        return f"{arguments.directory} has {free / 2**30:.1f} GiB free, needed are {arguments.size * _ROOM / 2**30:.1f}"
    return None


def _measure_all(arguments: argparse.Namespace) -> Record:
    """Measure and print one setting after the other."""
    keys = [REFERENCE]
    for key in known()[1:]:
        if key in arguments.only:
            reason = why_left_out(key)
            if reason:
                print(reason)
            else:
                keys.append(key)
    order = random.Random(arguments.seed)
    head = (
        f"{processor()}; {arguments.gib:g} GiB in all, {arguments.rounds} rounds, in {arguments.directory}, "
        f"seed {arguments.seed}"
    )
    print(head)
    measured: list[Measured] = []
    for streams in arguments.streams:
        with _bench(arguments, streams, keys) as bench:
            for busy in (False, True) if arguments.busy else (False,):
                setting = Setting(streams, arguments.network, busy)
                with contextlib.ExitStack() as opened:
                    burners = opened.enter_context(all_cores_busy()) if busy else []
                    load = os.getloadavg()[0]
                    runs = run_rounds(bench, keys, arguments.rounds, order, burners)
                here = [Measured(key, setting, tuple(runs[key])) for key in keys]
                measured += here
                print(f"\n**{setting}** (load {load:.2f} before, {os.getloadavg()[0]:.2f} after)\n")
                print(table(here, arguments.size), flush=True)
    return Record(head, arguments.size, tuple(measured))


@contextlib.contextmanager
def _bench(arguments: argparse.Namespace, streams: int, keys: Sequence[str]) -> Iterator[Bench]:
    """Make a farm with a drive for each stream, its sshd and its rsync daemon."""
    with contextlib.ExitStack() as opened:
        directory = opened.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-", dir=arguments.directory))
        link = opened.enter_context(linked_by(arguments.network))
        with link.on_nas():
            farm = _farm(Path(directory), streams, link)
            opened.enter_context(farm)
        port = None
        if "rsync-daemon" in keys:
            port = opened.enter_context(rsync_daemon(Path(directory), farm.drives, link))
        yield Bench(farm, link, arguments.size, port)


def _farm(root: Path, drives: int, link: Link) -> Farm:
    keep = {"plotter.keep_source": "True"}
    return Farm(root, drives, settings=AS_SHIPPED, plotter_settings=keep, restricted=False, address=link.nas)


def _judge(record: Record, then: Record | None, check: bool) -> int:
    status = 0
    if then is not None:
        comparison = compare(then, record)
        print(f"\nCompared with: {then.head}\n{comparison}")
        status = 1 if comparison.those("worse") else 0
    if check:
        broken = broken_promises(record)
        print("\n" + ("\n".join(["Not as promised:", *(f"  {line}" for line in broken)]) if broken else "As promised."))
        status = 1 if broken else status
    return status


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=_ABOUT, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gib", type=float, default=2.0, help="size of all files together in GiB (2)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds that count (10); one before them does not")
    parser.add_argument(
        "--streams", type=_numbers, default=[1], metavar="LIST",
        help="so many files at once, each of 1/N of the size: for example 1,4,8 (1)",
    )  # fmt: skip
    parser.add_argument(
        "--network", choices=NETWORKS, default="loopback", help="what is between both ends; veth needs root (loopback)"
    )
    parser.add_argument("--busy", action="store_true", help="all once more with a busy process on each core")
    parser.add_argument("--directory", type=Path, help="where it all happens (/dev/shm; with --memory /tmp)")
    parser.add_argument(
        "--only", type=lambda text: text.split(","), metavar="LIST",
        help=f"some of: {', '.join(known())} (all; with --memory netcat,direct)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the order (any; it is printed)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also store every single run there")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="compare with a run that --json has stored")
    parser.add_argument("--check", action="store_true", help="see whether it is as fast and as cheap as promised")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of speed, once for each pipe")
    return _checked(parser, parser.parse_args())


def _checked(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> argparse.Namespace:
    """Refuse what makes no sense and fill in what depends on the rest."""
    memory = arguments.memory
    arguments.only = arguments.only or (["netcat", "direct"] if memory else known())
    arguments.directory = arguments.directory or Path("/tmp" if memory else "/dev/shm")
    arguments.size = round(arguments.gib * 2**30)
    unknown = [key for key in arguments.only if key not in known()]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    if memory and not any(key in OURS for key in arguments.only):
        parser.error(f"--memory looks at these only: {', '.join(OURS)}")
    if arguments.gib <= 0 or arguments.rounds < 1:
        parser.error("--gib and --rounds must be above zero")
    if not all(0 < streams <= _MOST_STREAMS for streams in arguments.streams):
        parser.error(f"--streams are from 1 to {_MOST_STREAMS}")
    if arguments.check and (1 not in arguments.streams or arguments.network != "loopback"):
        parser.error("--check needs 1 among the --streams, over loopback")
    return arguments


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
