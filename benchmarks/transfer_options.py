"""The command line of benchmarks/transfer.py, and what it needs on this machine."""

from __future__ import annotations

import argparse
import random
import shutil
from pathlib import Path

from benchmarks.contenders import ESSENTIAL, known
from benchmarks.journeys import OURS
from benchmarks.loop_drives import KINDS, image_bytes, why_no_loop_drives
from benchmarks.results import AGAINST_BEFORE
from benchmarks.surroundings import NETWORKS, missing
from testbed.network import why_no_separate_host

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
  machine s/GB  CPU time of the whole machine, the kernel's own threads and all other work on it included
  fixed         seconds of the whole command, and of CPU, with plots of 1 MiB

With N streams each contender sends N files at once, each of 1/N of the size, to N drive directories: so many senders
and receivers in parallel, for Chia Plot Manager one run of plot_manager.py, for chia_plot_copy one run with N threads.
The directories are in memory by default, so that no drive hides what the software costs. With --drives they are ext4
or XFS on loop devices with direct I/O, whose images lie in --images: on a disk, or where that is too slow in memory.

--against CHECKOUT has the journeys of another checkout with a .venv of its own, such as a worktree of the version
before, run in the same rounds, and prints ratios to those. `net` is without the fixed cost of a run (start-up, ssh),
which is measured in each round with plots of 1 MiB.

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
  benchmarks/transfer.py --against ../before --only netcat,direct,before-netcat,before-direct --drives xfs
  benchmarks/transfer.py --memory                      what is used and left behind in memory, with a disk in /tmp

exit status: 0 all well, 1 something is missing, has got worse (--compare) or is not as promised (--check)"""

_MOST_STREAMS = 16  # each needs a port of the farm, and a name on a drive of its own
_ROOM = 2.05  # the files twice, and logs


def parse_arguments() -> argparse.Namespace:
    """Read the command line; what makes no sense is refused."""
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
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout, with a .venv of its own")
    parser.add_argument("--drives", choices=KINDS, help="plot drives on loop devices; needs root")
    parser.add_argument("--images", type=Path, default=Path("/tmp"), help="where their images are (/tmp)")
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
    if not arguments.against:
        arguments.only = [key for key in arguments.only if key not in AGAINST_BEFORE.values()]
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


def why_impossible(arguments: argparse.Namespace) -> str | None:
    """Say why this machine cannot do what is asked for, or None."""
    if absent := missing(list(ESSENTIAL)):
        packages = " ".join(ESSENTIAL[program] for program in absent)
        return f"not installed: {', '.join(absent)} (apt-get install {packages})"
    if arguments.network == "veth" and (reason := why_no_separate_host()):
        return reason
    if arguments.drives and (reason := why_no_loop_drives(arguments.drives)):
        return reason
    if arguments.against and not (arguments.against / ".venv" / "bin" / "python").exists():
        return f"{arguments.against} is no checkout with a .venv of its own"
    needed = [(arguments.directory, arguments.size * (1.05 if arguments.drives else _ROOM))]
    if arguments.drives:
        needed.append(
            (arguments.images, max(streams * image_bytes(arguments.size // streams) for streams in arguments.streams))
        )
    for directory, size in needed:
        free = shutil.disk_usage(directory).free
        if free < size:
            return f"{directory} has {free / 2**30:.1f} GiB free, needed are {size / 2**30:.1f}"
    return None
