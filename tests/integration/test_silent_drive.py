"""One drive that never answers, among others: waited for once, told of once, and back when it answers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from plotfarm.base.config.loader import load
from plotfarm.base.database import Database
from plotfarm.base.state import State
from plotfarm.drives.sessions import Sessions
from plotfarm.jobs.drive_storage import DriveStorage
from plotfarm.notify.alerts import AlertBook
from plotfarm.transfer.effects import ReservedPlacement
from plotfarm.transfer.messages import Offer
from testbed.farm import Farm
from testbed.mounts import private_mounts
from testbed.plots import make_plot2
from testbed.silent_drive import silent, why_no_silent_drives

WAITED_FOR_ONCE = 1  # [drives] probe_seconds while the drive is asked for the first time
NEVER_AGAIN = 60  # and afterwards: whoever waited for it would need this long


def told_of(farm: Farm) -> list[str]:
    """Return the subjects of all messages about drives that do not answer, or answer again."""
    database = Database(farm.nas.state)
    subjects = [str(row[0]) for row in database.rows("SELECT subject FROM messages ORDER BY id")]
    database.close()
    return [subject.partition(": ")[2] for subject in subjects if "answer" in subject]


def standing(farm: Farm) -> set[str]:
    database = Database(farm.nas.state)
    kinds = {kind for kind, _ in AlertBook(database).standing()}
    database.close()
    return kinds


def run(farm: Farm, *arguments: str) -> str:
    """Run drive_manager.py, which must not wait for any drive."""
    started = time.monotonic()
    done = farm.drive_manager(*arguments)
    assert time.monotonic() - started < NEVER_AGAIN / 2
    assert done.returncode == 0, done.stderr
    return done.stdout


def offer_a_plot(farm: Farm, name: str) -> str:
    """Ask for room and offer a plot as a session does, without waiting for any drive; returns the drive's name."""
    config = load(farm.nas.config)
    state = State(config.paths.state)
    session = Sessions(config.paths.locks).begin("rig1", 10)
    storage = DriveStorage(config, state, "rig1", session)
    started = time.monotonic()
    assert storage.capacity(5_000_000).plots > 0
    offer = Offer(
        name=name, size=5_000_000, format="v1", k=18, id="", is_dry_run=True, patience_seconds=0.0, streams=1,
        plot_directory="/plots", free_bytes=None, waiting_bytes=0, hours_left=None,
    )  # fmt: skip
    placement = storage.place(offer, frozenset()).placement
    assert time.monotonic() - started < NEVER_AGAIN / 2
    state.close()
    assert session is not None
    session.lock.release()
    assert isinstance(placement, ReservedPlacement)
    return placement.drive


@pytest.mark.root
def test_the_session_lives_while_a_drive_is_waited_for_longer_than_an_end_may_be_silent(tmp_path: Path) -> None:
    if reason := why_no_silent_drives():
        pytest.skip(reason)
    silence = {"transfer.beat_seconds": 0.5, "transfer.silence_seconds": 3}
    with private_mounts():
        settings = {**silence, "drives.probe_seconds": 8}
        with Farm(tmp_path / "farm", drives=2, nas_settings=settings, plotter_settings=silence) as farm:
            farm.remember_small_plots()
            plot = make_plot2(farm.plots / f"plot-k28-{'ab' * 32}.plot2", 20)
            with silent(farm.drives[0]):
                done = farm.plot_manager()
                assert done.returncode == 0, done.stderr + farm.plotter.log_text()
                assert (farm.drives[1] / plot.name).exists()
                assert not plot.exists()


@pytest.mark.root
def test_a_drive_that_never_answers(tmp_path: Path) -> None:
    if reason := why_no_silent_drives():
        pytest.skip(reason)
    settings = {
        "drives.probe_seconds": WAITED_FOR_ONCE,
        "watch.missing_minutes": 0,
        "notifications.alerting": True,
        "notifications.email": True,
        "email.recipients": "farmer@example.org",
        "email.host": "127.0.0.1",
        "email.port": 1,
    }
    with private_mounts():
        farm = Farm(tmp_path / "farm", drives=3, nas_settings=settings)
        farm.remember_small_plots()
        farm.drive_manager()
        with silent(farm.drives[0]):
            assert farm.drive_manager().returncode == 0, "waited for, and another one is chosen"
            farm.nas.change({"drives.probe_seconds": NEVER_AGAIN})
            for _ in range(3):
                run(farm)
            assert told_of(farm) == ["drive1 does not answer"]
            assert "not answering since" in run(farm, "--explain")
            assert "does not answer: not answering since" in " ".join(run(farm, "-pr").split())
            assert offer_a_plot(farm, "plot-k18-a.plot") == "drive2"

            run(farm, "-off", "drive1")
            run(farm)
            assert "not answering" not in run(farm, "--explain"), "as if it were not there"
            assert "not_answering" not in standing(farm)
            run(farm, "-on", "drive1")
            run(farm)
            assert "not_answering" in standing(farm)

        run(farm)
        assert "not_answering" not in standing(farm)
        assert told_of(farm)[-1] == "drive1 answers again"
        assert offer_a_plot(farm, "plot-k18-b.plot") == "drive1"
