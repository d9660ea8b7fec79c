"""Make the pictures of the reports at a terminal of 80 columns, from the sample farm of the tests.

PYTHONPATH=.:tests/unit .venv/bin/python docs/make_screens.py
"""

from __future__ import annotations

from pathlib import Path

from reports_samples import K32, NOW, ten_drives

from plotfarm.base.config.sections import Smart
from plotfarm.base.state import Transfer, TransferOutcome
from plotfarm.drives.choose import Choice, Selected, Taken
from plotfarm.drives.speed import Speed
from plotfarm.reports import explain, plot_report, status, temperatures
from plotfarm.reports.facts import FarmFacts
from plotfarm.reports.status import Running, Status
from plotfarm.reports.terminal import Terminal
from testbed.ansi_svg import picture

HERE = Path(__file__).parent
WIDTH = 80
TERMINAL = Terminal(colour=True, width=WIDTH)


def main() -> None:
    """Make them all."""
    farm = ten_drives()
    draw("plot_report.svg", "-pr", plot_report.as_text(farm, TERMINAL))
    draw("check_temps.svg", "-ct", temperatures.as_text(farm, Smart(), TERMINAL))
    draw("explain.svg", "--explain", explain.as_text(choice(farm), TERMINAL))
    draw("status.svg", "--status", status.as_text(arriving(farm), TERMINAL))


def choice(farm: FarmFacts) -> Choice:
    """Return what is decided on the sample farm."""
    verdicts = tuple(drive.verdict for drive in farm.drives)
    return Choice(verdicts[5].drive.mountpoint, Selected(verdicts[5], Taken.LOWEST), verdicts, "fill", K32, False)


def arriving(farm: FarmFacts) -> Status:
    """Return what may be on its way there."""
    places = [drive.drive.mountpoint for drive in farm.drives]
    names = [f"plot-k32-2026-11-23-{number:02}-47-{f'{number:x}' * 64}.plot" for number in range(10, 15)]
    running = [
        Running(names[0], "chiaplot01", places[5], K32, K32 * 62 // 100, 0, NOW - 330, NOW, True, 204e6),
        Running(names[1], "chiaplot01", places[6], K32, K32 * 8 // 100, 0, NOW - 45, NOW, True, 193e6),
    ]
    stored = [
        Transfer(
            finished=NOW - 420 * (number + 1),
            plot=name,
            kind="v1",
            source=f"/mnt/ssdraid/array0/{name}",
            target=f"{places[5]}/{name}",
            plotter="chiaplot01",
            bytes=K32,
            seconds=545.0 + number,
            digest="5e" * 32,
            segments="",
            outcome=TransferOutcome.STORED,
            k=32,
        )
        for number, name in enumerate(names[2:])
    ]
    speeds = {places[5]: Speed(199e6, 20), places[3]: Speed(84e6, 20, is_slow=True)}
    return Status(farm.server, NOW, 120.0, running, stored, speeds=speeds)


def draw(name: str, option: str, screen: str) -> None:
    """Write a picture of a terminal after a command."""
    (HERE / name).write_text(picture(f"$ ./drive_manager.py {option}\n{screen}", WIDTH, f"{WIDTH} columns"))


if __name__ == "__main__":
    main()
