#!/usr/bin/env python3
"""How long the scripts that cron starts take when there is nothing to do, and where that time goes."""

from __future__ import annotations

import sys
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_CHECKOUT))

from plotfarm.base.venv import hand_over  # noqa: E402

hand_over()

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from dataclasses import dataclass  # noqa: E402

from benchmarks.surroundings import workplace  # noqa: E402
from testbed.farm import Farm, Side  # noqa: E402

_ABOUT = """\
Times the scripts as cron starts them every minute, as whole processes, the hand-over to .venv included:

  drive_manager.py       44 drives with 100,000 plots on them, the right drive already configured
  plot_manager.py        an empty plot directory
  move_local_plots.py    likewise

and then shows where the time goes: stage by stage, and the slowest imports. The goal is less than 250 ms each on
two cores. Besides, what a session costs a NAS until it says `hello`, in time of the processor: less than 60 ms.

With --check the exit status is 1 if a median is above its goal."""

_EXAMPLES = """\
examples:
  benchmarks/startup.py
  benchmarks/startup.py --runs 50 --directory /dev/shm
  benchmarks/startup.py --drives 200 --plots 400000"""

_PYTHON = "/usr/bin/python3"  # what cron's PATH finds
_GOAL_MILLISECONDS = 250.0
_GREETING_GOAL_MILLISECONDS = 60.0
_SLOWEST_IMPORTS = 12
_WARM_UP_RUNS = 2
_SCRIPTS = ("drive_manager", "plot_manager", "move_local_plots")
_ONLY_HAND_OVER = "import sys\nsys.path.insert(0, {0!r})\nfrom plotfarm.base.venv import hand_over\nhand_over()\n"


@dataclass(frozen=True)
class Import:
    """One imported module: milliseconds of its own, and with all that it imported first."""

    name: str
    own: float
    all: float


def make_farm(root: Path, drives: int, plots: int) -> Farm:
    """Return a farm with empty files as plots, spread over its drives, and one remembered arrival."""
    # With messages switched on, though there is nothing to tell: that is looked for in every run.
    told = {"notifications.alerting": True, "notifications.email": True, "email.recipients": "farmer@example.org"}
    settings = {"system_logging.log_level": "INFO", "watch.system_disk_free": "1 MiB", **told}
    farm = Farm(root, drives=drives, settings=settings, nas_settings={"local_plots.plot_directories": root / "made"})
    (root / "made").mkdir()
    for number in range(plots):
        (farm.drives[number % drives] / f"plot-k32-2026-11-23-18-47-{number:064x}.plot").touch()
    farm.remember_small_plots()
    return farm


def command(script: str, side: Side) -> list[str]:
    """Return the command line of a script, as in the crontab."""
    return [_PYTHON, str(_CHECKOUT / f"{script}.py"), "--config", str(side.config)]


def run(farm: Farm, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command in cron's environment; SystemExit if it fails."""
    done = subprocess.run(
        argv, env=farm.cron_environment(), cwd=farm.home, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)} failed: {done.stderr}")
    return done


def milliseconds(farm: Farm, argv: Sequence[str]) -> float:
    """Return how long one run of a command takes."""
    begun = time.perf_counter()
    run(farm, argv)
    return (time.perf_counter() - begun) * 1000


def stages(farm: Farm, script: str, side: Side) -> dict[str, float]:
    """Return stage -> milliseconds of one run of the job, as stages.py measures them."""
    argv = [sys.executable, str(Path(__file__).with_name("stages.py")), script, str(side.config)]
    answer: dict[str, float] = json.loads(run(farm, argv).stdout.splitlines()[-1])
    return {name: seconds * 1000 for name, seconds in answer.items()}


def parse_imports(text: str) -> list[Import]:
    """Return the modules in the output of `python -X importtime`, slowest first by their own time."""
    found = []
    for line in text.splitlines():
        fields = line.removeprefix("import time:").split("|")
        if line.startswith("import time:") and fields[0].strip().isdigit():
            found.append(Import(fields[2].strip(), int(fields[0]) / 1000, int(fields[1]) / 1000))
    return sorted(found, key=lambda module: module.own, reverse=True)


def report(farm: Farm, script: str, side: Side, runs: int) -> float:
    """Measure one script and print what was found; returns its median in milliseconds."""
    starter = farm.root / "only_hand_over.py"
    starter.write_text(_ONLY_HAND_OVER.format(str(_CHECKOUT)))
    whole: list[float] = []
    parts: list[dict[str, float]] = []
    # The parts are measured between the wholes, so that a busy machine slows both down.
    for number in range(runs + _WARM_UP_RUNS):
        one = milliseconds(farm, command(script, side))
        start = milliseconds(farm, [_PYTHON, str(starter)])
        inside = stages(farm, script, side)
        if number >= _WARM_UP_RUNS:
            whole.append(one)
            parts.append({"Python, twice, with the hand-over to .venv": start, **inside})
    median = statistics.median(whole)
    print(f"\n## {script}.py: {median:.0f} ms (median of {runs}; {min(whole):.0f}-{max(whole):.0f} ms)\n")
    print("| stage | ms |\n|---|---|")
    for name in parts[0]:
        print(f"| {name} | {statistics.median(part[name] for part in parts):.1f} |")
    traced = run(
        farm, [sys.executable, "-X", "importtime", str(_CHECKOUT / f"{script}.py"), "--config", str(side.config)]
    )
    print("\n| slowest imports | own ms | with what they import |\n|---|---|---|")
    for module in parse_imports(traced.stderr)[:_SLOWEST_IMPORTS]:
        print(f"| {module.name} | {module.own:.1f} | {module.all:.1f} |")
    return median


def greeting_milliseconds(farm: Farm) -> tuple[float, float]:
    """Return what receive_plot.sh takes of the processors until it says hello, and until it ends without a plot."""
    environment = {**farm.cron_environment(), "SSH_CONNECTION": "127.0.0.1 1 127.0.0.1 2"}
    argv = [str(_CHECKOUT / "receive_plot.sh"), "--config", str(farm.nas.config), "receive"]
    process = subprocess.Popen(
        argv, env=environment, cwd=farm.home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdout.readline()
    # On the processor so far, in ns: proc(5). The shell became the session, so all but its helper is in it.
    until_hello = int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e6
    process.stdin.close()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return until_hello, (usage.ru_utime + usage.ru_stime) * 1000


def report_greeting(farm: Farm, runs: int) -> float:
    """Measure what a session costs and print it; returns the median until `hello`, in milliseconds."""
    measured = [greeting_milliseconds(farm) for _ in range(runs + _WARM_UP_RUNS)][_WARM_UP_RUNS:]
    hello = statistics.median(until_hello for until_hello, _ in measured)
    whole = statistics.median(whole for _, whole in measured)
    print(
        f"\n## receive_plot.sh: {hello:.0f} ms of the processor until hello, {whole:.0f} ms in all (median of {runs})"
    )
    return hello


def main() -> int:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=_ABOUT, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=20, help="runs of each script (20)")
    parser.add_argument("--drives", type=int, default=44, help="drives of the NAS (44)")
    parser.add_argument("--plots", type=int, default=100_000, help="plots on them (100000)")
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()), help="where the farm is made")
    parser.add_argument("--check", action="store_true", help=f"fail above {_GOAL_MILLISECONDS:.0f} ms")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with workplace(arguments.directory) as directory:
        farm = make_farm(directory / "farm", arguments.drives, arguments.plots)
        with farm:
            run(farm, command("drive_manager", farm.nas))  # from now on the right drive is configured
            sides = {"drive_manager": farm.nas, "plot_manager": farm.plotter, "move_local_plots": farm.nas}
            medians = [report(farm, script, sides[script], arguments.runs) for script in _SCRIPTS]
            hello = report_greeting(farm, arguments.runs)
    print(f"\n{os.cpu_count()} cores, load {load:.2f} before and {os.getloadavg()[0]:.2f} after")
    is_slow = max(medians) > _GOAL_MILLISECONDS or hello > _GREETING_GOAL_MILLISECONDS
    return int(arguments.check and is_slow)


if __name__ == "__main__":
    sys.exit(main())
