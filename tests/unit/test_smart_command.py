"""How smartctl is started."""

from __future__ import annotations

import pytest

from plotfarm.base.errors import PlotfarmError
from plotfarm.drives.smart.command import arguments, permission_remedy, smartctl_words

INSTALLED = {"smartctl": "/usr/sbin/smartctl", "sudo": "/usr/bin/sudo", "/opt/smartctl": "/opt/smartctl"}


def test_root_starts_it_by_its_absolute_path():
    assert smartctl_words((), is_root=True, find=INSTALLED.get) == ["/usr/sbin/smartctl"]


def test_others_start_it_through_sudo_that_asks_for_no_password():
    words = smartctl_words((), is_root=False, find=INSTALLED.get)
    assert words == ["/usr/bin/sudo", "-n", "/usr/sbin/smartctl"]


def test_without_sudo_it_is_tried_as_it_is():
    assert smartctl_words((), is_root=False, find={"smartctl": "/s"}.get) == ["/s"]


def test_configured_words_are_taken_as_they_are():
    assert smartctl_words(("/opt/smartctl",), is_root=False, find=INSTALLED.get) == ["/opt/smartctl"]
    words = smartctl_words(("sudo", "-n", "/opt/smartctl"), find=INSTALLED.get)
    assert words == ["/usr/bin/sudo", "-n", "/opt/smartctl"]


def test_what_is_not_installed_is_said_with_the_remedy():
    with pytest.raises(PlotfarmError, match="apt-get install smartmontools"):
        smartctl_words((), find={"sudo": "/usr/bin/sudo"}.get)
    with pytest.raises(PlotfarmError, match=r"/opt/other of \[smart\] smartctl is not there"):
        smartctl_words(("/opt/other",), find=INSTALLED.get)


def test_the_remedy_for_no_permission_is_a_line_for_sudo(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 987_654)  # an id without a name
    line = "put the line '#987654 ALL=(root) NOPASSWD: /x/smartctl' into /etc/sudoers.d/plotfarm"
    assert permission_remedy(["/usr/bin/sudo", "-n", "/x/smartctl"]) == line
    assert permission_remedy(["/x/smartctl"]) == f"install sudo and {line}"


def test_a_disk_is_left_asleep_unless_it_may_be_woken():
    assert arguments("/dev/sda", "", wake=False) == ["-n", "standby", "--json=o", "--all", "/dev/sda"]
    assert arguments("/dev/sda", "megaraid,7", wake=True) == ["-d", "megaraid,7", "--json=o", "--all", "/dev/sda"]
