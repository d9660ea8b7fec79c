"""`./install.sh demo`: the main job on real plots, on a throw-away farm, told so that one can follow it.

Everything that it claims it has looked at itself; if anything is not as it should be, it says so, shows the
logs and ends with status 1.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.text import Text

from plotfarm.base.units import format_bytes, format_duration
from plotfarm.drives.model import MARKER
from plotfarm.drives.reservations import Reservations
from testbed import chia_logs
from testbed.farm import Farm, sha256
from testbed.mail_server import MailServer
from testbed.plots import PlotShop
from testbed.sshd import SshdError, is_gone
from testbed.stage import DemoError, Stage

_LIMIT_SECONDS = 60.0
_PLAIN_WIDTH = 110  # where there is no terminal whose width would count


class Demo(Stage):
    """The farm, the console, and the plots that have to arrive."""

    def __init__(self, console: Console, farm: Farm, mail_server: MailServer) -> None:
        super().__init__(console, farm.root)
        self.farm = farm
        self.mail_server = mail_server
        self.made_on_nas = farm.nas.directory / "made_here"
        self.made_on_nas.mkdir()
        self.finished: dict[str, tuple[str, int, str]] = {}  # name -> kind, bytes, SHA-256
        self.unfinished: dict[Path, str] = {}  # path -> SHA-256

    def play(self) -> None:
        """Show the whole story; DemoError at the first thing that is not as it should be."""
        started = time.monotonic()
        self.introduce()
        self.make_plots()
        self.choose_a_drive()
        self.send_the_plots()
        self.compare()
        self.run_again()
        self.move_a_local_plot()
        self.report()
        self.read_the_mail()
        self.win_a_coin()
        self.say("")
        took = format_duration(time.monotonic() - started)
        self.say(f"All as it should be, in {took}. The farm is removed again.", "bold green")

    # ---- The acts ----

    def introduce(self) -> None:
        """Say what this is and where it lies."""
        address = f"{self.farm.sshd.address}:{self.farm.sshd.port}"
        self.say("Chia Plot Manager: finished plots go from the plotter to the NAS, verified", "bold")
        self.say(
            f"A plotter and a NAS with {len(self.farm.drives)} drives, thrown up in {self.farm.root}. Between "
            f"them, as on a real farm: ssh (a private sshd on {address}, keys of its own) and netcat."
        )

    def make_plots(self) -> None:
        """Plot four real plots, one of which stays unfinished."""
        self.act("The plotter makes plots")
        shop = PlotShop(self.farm.root / "shop")
        plots = self.farm.plots
        with self.console.status("plotting k18 plots with chiapos and chia_rs ..."):
            made = [
                ("v1, by chiapos", shop.v1(plots)),
                ("v1, name as if compressed", shop.compressed_style(plots)),
                ("v2 group, by chia_rs", shop.gplot(plots)),
            ]
            left_alone = shop.unfinished(plots)
        self.finished = {path.name: (kind, path.stat().st_size, sha256(path)) for kind, path in made}
        self.unfinished = {path: sha256(path) for path in left_alone}
        table = self.table("in the plot directory", "what it is", ">size")
        kinds = ("v1, cut off", "v1, still being plotted")
        for kind, path in [*made, *zip(kinds, left_alone, strict=True)]:
            table.add_row(self.short(path.name), kind, format_bytes(path.stat().st_size))
        self.console.print(table)

    def choose_a_drive(self) -> None:
        """Let drive_manager.py choose, with one drive that is none."""
        self.act("The NAS chooses a drive: drive_manager.py, which cron starts every minute")
        self.farm.remember_small_plots()
        self.farm.give_smart()
        self.farm.nas.change(
            {
                **self.mail_server.settings,
                "notifications.new_plot_drive": True,
                "system_settings.server_name": "demo-nas",
                "local_plots.plot_directories": self.made_on_nas,
            }
        )
        (self.farm.drives[0] / MARKER).unlink()
        self.say(f"(Somebody pulled out {self.farm.drives[0].name}: it is declared, but not there.)", "dim")
        self.command("drive_manager.py")
        self.expect_success(self.farm.drive_manager())
        self.show_log(self.farm.nas.logs / "drive_manager.log")
        self.command("drive_manager.py --explain")
        explained = self.farm.drive_manager("--explain")
        self.expect_success(explained)
        self.say(self.short(explained.stdout.rstrip()))

    def send_the_plots(self) -> None:
        """Run plot_manager.py with a bar that follows the bytes on the drives."""
        self.act("The plotter sends: plot_manager.py, which cron starts every five minutes")
        self.command("plot_manager.py")
        total = sum(size for _, size, _ in self.finished.values())
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        with tempfile.TemporaryFile("w+", dir=self.farm.root) as output:
            process = self.farm.start_plot_manager(output=output)
            with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as bar:
                task = bar.add_task(f"{len(self.finished)} plots to the NAS", total=total)
                deadline = time.monotonic() + _LIMIT_SECONDS
                while process.poll() is None:
                    if time.monotonic() > deadline:
                        raise DemoError(f"plot_manager.py is still running after {_LIMIT_SECONDS:g} seconds")
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(0.1)
                    bar.update(task, completed=self.arrived_bytes())
            output.seek(0)
            said = output.read()
        if process.returncode:
            raise DemoError(f"plot_manager.py ended with status {process.returncode}: {said}")
        self.show_log(self.farm.plotter.logs / "plot_manager.log")

    def compare(self) -> None:
        """Look at the drives from outside: names, sizes, hashes, and what stayed behind."""
        self.act("What is where now")
        stored = self.farm.stored()
        table = self.table("plot", "drive", ">size", "SHA-256, both ends")
        for path, digest in stored.items():
            equal = self.finished.get(path.name, ("", 0, ""))[2] == digest
            verdict = Text(f"equal ({digest[:8]}\u2026)", "green") if equal else Text("DIFFERENT", "bold red")
            drive = path.parent.name
            table.add_row(self.short(path.name), drive, format_bytes(path.stat().st_size), verdict)
        self.console.print(table)
        expected = {name: digest for name, (_, _, digest) in self.finished.items()}
        arrived = {path.name: digest for path, digest in stored.items()}
        self.check("every finished plot lies on a drive, whole, under its own name", arrived == expected)
        self.check("no half plot is left on the drives", not self.farm.parts())
        waiting = self.farm.waiting()
        self.check("the sources are gone from the plotter", not {path.name for path in waiting} & set(expected))
        self.check("the unfinished plots were left alone", waiting == self.unfinished)

    def run_again(self) -> None:
        """Run plot_manager.py once more: nothing may happen."""
        self.act("Five minutes later: cron starts plot_manager.py again")
        log = self.farm.plotter.logs / "plot_manager.log"
        seen = log.stat().st_size if log.exists() else 0
        before = self.farm.stored(), self.farm.waiting()
        self.command("plot_manager.py")
        self.expect_success(self.farm.plot_manager())
        self.show_log(log, seen)
        self.check("nothing to do, and nothing was done", (self.farm.stored(), self.farm.waiting()) == before)

    def move_a_local_plot(self) -> None:
        """Plot on the NAS itself and run move_local_plots.py."""
        self.act("The NAS makes a plot itself: move_local_plots.py, which cron starts every five minutes")
        plot = PlotShop(self.farm.root / "shop").v1(self.made_on_nas, seed="local")
        before = sha256(plot)
        self.command("move_local_plots.py")
        done = self.farm.move_local_plots()
        self.expect_success(done)
        self.say(f"  {self.short(done.stdout.strip())}")
        arrived = {path.name: digest for path, digest in self.farm.stored().items()}
        self.check("it lies on a drive, whole, and no longer where it was made",
                   arrived.get(plot.name) == before and not plot.exists())  # fmt: skip

    def report(self) -> None:
        """Let drive_manager.py report on the drives and the plots."""
        self.act("What the owner of the NAS sees: drive_manager.py -pr and -ct")
        for option in ("-pr", "-ct"):
            self.command(f"drive_manager.py {option}")
            done = self.farm.drive_manager(option)
            self.expect_success(done)
            self.say(done.stdout.rstrip())
        self.say("(The temperatures are made up: a stand-in for smartctl tells them.)", "dim")

    def read_the_mail(self) -> None:
        """Show the mail that the choice of a drive has sent meanwhile."""
        self.act("The mail that came when the plot drive was chosen, as it arrived at a mail server here")
        self.say(self.wait_for_mail("new plot drive"))
        arrived = self.mail_server.received[0]
        drive = "drive2"
        self.check("the mail names the drive, as text and as HTML",
                   drive in arrived.part("plain") and drive in arrived.part("html"))  # fmt: skip

    def win_a_coin(self) -> None:
        """Let Chia's log grow by a farmer's reward."""
        self.act("The farmer wins a block: coin_monitor.py reads Chia's log, which cron has it do every minute")
        log = self.farm.home / ".chia" / "mainnet" / "log" / "debug.log"
        log.parent.mkdir(parents=True)
        now, height = time.strftime("%Y-%m-%dT%H:%M:%S.000"), 9_000_000
        log.write_text(chia_logs.noise(now))
        self.command("coin_monitor.py")
        self.expect_success(self.farm.coin_monitor())
        reward = chia_logs.state(now, chia_logs.parent_of(chia_logs.FARMER, height), 125_004_200_000, height + 5)
        with open(log, "a") as file:
            file.write(reward)
        self.say(f"(Its log grows by: {reward[:110].rstrip()} ...)", "dim")
        self.command("coin_monitor.py")
        self.expect_success(self.farm.coin_monitor())
        self.expect_success(self.farm.coin_monitor())  # and once more: nothing may be told twice
        arrived = self.wait_for_mail("XCH")
        self.say(arrived)
        coins = [each for each in self.mail_server.received if "XCH" in each.mail["Subject"]]
        self.check("one coin, one mail, however often it runs", len(coins) == 1)

    def wait_for_mail(self, words: str) -> str:
        """Return head and text of the first mail with these words in its subject, as it arrived."""
        deadline = time.monotonic() + _LIMIT_SECONDS
        while not (mails := [each for each in self.mail_server.received if words in each.mail["Subject"]]):
            if time.monotonic() > deadline:
                raise DemoError(f"no mail about {words} arrived within {_LIMIT_SECONDS:g} seconds")
            time.sleep(0.05)
        head = [f"{field}: {mails[0].mail[field]}" for field in ("From", "To", "Subject")]
        lines = [*head, "", *self.short(mails[0].part("plain")).splitlines()]
        return "\n".join(f"  {line}".rstrip() for line in lines)

    # ---- What the acts are made of ----

    def arrived_bytes(self) -> int:
        """Return how many bytes lie on the drives, those of plots on their way included."""
        reservations = Reservations(self.farm.nas.locks)
        with reservations.mutex():
            arriving = sum(arrival.written_bytes for arrival in reservations.arrivals())
        drives = (path for drive in self.farm.drives for path in drive.iterdir())
        return arriving + sum(path.stat().st_size for path in drives if path.name in self.finished)


@contextlib.contextmanager
def ending_children() -> Iterator[None]:
    """In the end kill whatever this process started and what that started: Ctrl-C may come at any moment."""
    try:
        yield
    finally:
        children = psutil.Process().children(recursive=True)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        while not all(is_gone(child) for child in children):
            time.sleep(0.005)


_stop_asked = threading.Event()


def _stop(number: int, frame: object) -> None:
    """End the demo, at the latest at its next line: Python ignores what is raised while it forks."""
    _stop_asked.set()
    raise KeyboardInterrupt


class _Stopping(Console):
    """A console that writes nothing more once the demo is to end."""

    def print(self, *arguments: Any, **options: Any) -> None:
        """Print; KeyboardInterrupt instead, once, if the demo is to end."""
        if _stop_asked.is_set():
            _stop_asked.clear()
            raise KeyboardInterrupt
        super().print(*arguments, **options)


def main() -> int:
    """Play the demo in a temporary directory; returns the exit status."""
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, _stop)  # clean up as on Ctrl-C
    with contextlib.suppress(AttributeError):  # whatever the terminal can show: no letter stops the demo
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    console = _Stopping(highlight=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="plot-farm-") as directory,
            ending_children(),
            MailServer() as mail_server,
            Farm(Path(directory) / "farm") as farm,
        ):
            demo = Demo(console, farm, mail_server)
            try:
                demo.play()
            except DemoError as error:
                logs = demo.short(f"{farm.plotter.log_text()}\n{farm.nas.log_text()}")
                console.print(Text(f"\n{error}\n", "bold red"), Text(logs), soft_wrap=True)
                return 1
    except SshdError as error:
        console.print(Text(str(error), "bold red"))
        return 1
    except KeyboardInterrupt:
        _stop_asked.clear()
        console.print("\nStopped. The farm is removed again.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
