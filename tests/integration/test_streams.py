"""Standard output and error on a full disk, and into a pipe that nobody reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.farm import Farm
from testbed.plots import CHECKOUT, make_plot2

SPEAKER = """
import sys
from pathlib import Path
from plotfarm.reports.terminal import complain, prepare, say
prepare(is_watched=False)
for number in range(3000):
    say(f"said {number}")
    complain(f"complained {number}")
Path(sys.argv[1]).write_text("done")
"""


def nowhere(kind: str) -> int:
    """Return a descriptor to which nothing can be written."""
    if kind == "full disk":
        return os.open("/dev/full", os.O_WRONLY)
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("kind", ["full disk", "reader gone"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_words_that_cannot_be_written_are_lost_and_nothing_else(tmp_path: Path, kind: str, unbuffered: str) -> None:
    there = nowhere(kind)
    done = subprocess.run(
        [sys.executable, "-c", SPEAKER, str(tmp_path / "found")], cwd=CHECKOUT, stdout=there, stderr=there, check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    os.close(there)
    assert done.returncode == 0
    assert (tmp_path / "found").read_text() == "done"


def test_what_can_be_written_is_written_in_order() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SPEAKER, "/dev/null"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "".join(f"said {number}\n" for number in range(3000))
    assert done.stderr == "".join(f"complained {number}\n" for number in range(3000))


def test_plots_move_while_the_output_of_cron_goes_to_a_full_disk(farm: Farm) -> None:
    """The first complaint ended the run, and every plot that was on its way with it."""
    for number in range(3):
        make_plot2(farm.plots / f"plot-k28-{number:064x}.plot2", chunks=1)
    farm.plotter.change({"plotter.plot_directories": f"{farm.root / 'missing'}, {farm.plots}"})
    with open("/dev/full", "w") as full:
        run = farm.start_plot_manager(output=full, environment={"PYTHONUNBUFFERED": "1"})
        run.wait(60)
    assert run.returncode == 1  # of the directory that is missing
    assert len(farm.stored()) == 3
    assert "Traceback" not in farm.plotter.log_text()
    assert farm.waiting() == {}
