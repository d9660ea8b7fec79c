"""What alert, mail, -pr and --explain say of the same drives at the same moment is the same."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from plotfarm.base.database import Database
from plotfarm.drives.model import MARKER
from plotfarm.drives.reasons import Reason
from testbed import smart_samples
from testbed.farm import Farm

GIB = 2**30


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    settings = {"notifications.alerting": True, "notifications.email": True, "email.host": "127.0.0.1",
                "email.port": 9, "email.sender": "farm@example.org", "email.recipients": "farmer@example.org",
                "watch.system_disk_free": "1 MiB", "watch.missing_minutes": 0}  # fmt: skip
    with Farm(tmp_path / "farm", drives=5, nas_settings=settings) as farm:
        farm.remember_small_plots()
        yield farm


def minimum_free(place: Path, reason: Reason) -> int:
    """Return what must stay free so that the drives are full, or would have no room even if they were empty."""
    room = os.statvfs(place)
    total, free = room.f_blocks * room.f_frsize, room.f_bavail * room.f_frsize
    assert total - free > GIB, "the file system of this test is nearly empty"
    return free + (total - free) // 2 if reason is Reason.FULL else total


def short_texts(farm: Farm) -> dict[str, str]:
    """Return the texts of all alerts by their subjects."""
    database = Database(farm.nas.state)
    rows = database.rows("SELECT subject, text FROM messages WHERE kind = 'alert'")
    database.close()
    return {subject: " ".join(text.split()) for subject, text in rows}


@pytest.mark.parametrize("reason", [Reason.FULL, Reason.TOO_SMALL])
def test_why_no_drive_can_take_a_plot(farm: Farm, reason: Reason) -> None:
    smartctl = farm.give_smart()
    smartctl.says("/dev/fake1", smart_samples.sata(serial="ZBAD1", passed=False))
    smartctl.says("/dev/fake2", smart_samples.sata(serial="ZBAD2", passed=False))
    farm.nas.change({"drives.minimum_free": f"{minimum_free(farm.drives[0], reason)} B"})
    # The first run reads the health of the drives for the first time.
    assert "no drive can take a plot" in farm.drive_manager().stderr
    (alert,) = (text for subject, text in short_texts(farm).items() if "no drive can take a plot" in subject)

    expected = f"3 {reason.label}, 2 failing"
    assert f"No drive can take a plot: {expected}" in alert
    assert f"no drive can take a plot ({expected})" in farm.drive_manager().stderr
    explained = json.loads(farm.drive_manager("--explain", "--json").stdout)["data"]["drives"]
    assert Counter(each["reason"] for each in explained) == {reason.value: 3, Reason.FAILING.value: 2}
    for report in ("-pr", "-dr"):
        facts = json.loads(farm.drive_manager(report, "--json").stdout)["data"]
        assert (facts["room_plots"], facts["room_plots_why"]) == (0, f"no drive can take a plot: {expected}")
        assert [(each["reason"], each["why"]) for each in facts["drives"]] == [
            (each["reason"], each["why"]) for each in explained
        ]
        (standing,) = (each["text"] for each in facts["alerts"] if each["kind"] == "no_drive")
        assert standing == f"No drive can take a plot: {expected}"
    text = farm.drive_manager("--explain").stdout
    assert text.count("too small: it has" if reason is Reason.TOO_SMALL else "full: 0 B are left for plots") == 3


def test_a_report_says_nothing_that_is_over_since_the_last_run(farm: Farm) -> None:
    farm.nas.change({"drives.minimum_free": f"{minimum_free(farm.drives[0], Reason.FULL)} B"})
    (farm.drives[0] / MARKER).unlink()
    farm.drive_manager()
    before = json.loads(farm.drive_manager("-pr", "--json").stdout)["data"]
    assert (before["room_plots"], [each["kind"] for each in before["alerts"]]) == (0, ["missing", "no_drive"])
    farm.nas.change({"drives.minimum_free": "0 B"})
    (farm.drives[0] / MARKER).touch()
    facts = json.loads(farm.drive_manager("-pr", "--json").stdout)["data"]
    assert facts["room_plots"] > 0
    assert facts["alerts"] == []


def test_room_that_drives_share_counts_once(farm: Farm) -> None:
    facts = json.loads(farm.drive_manager("--explain", "--json").stdout)["data"]
    (rooms,) = {each["room_plots"] for each in facts["drives"]}
    assert rooms > 0
    # Others use the file system meanwhile.
    said = re.search(r"Room for (\d+) plots? of", farm.drive_manager("--explain").stdout)
    assert said is not None
    assert 0.5 * rooms < int(said[1]) < 1.5 * rooms
    assert 0.5 * rooms < json.loads(farm.drive_manager("-pr", "--json").stdout)["data"]["room_plots"] < 1.5 * rooms
