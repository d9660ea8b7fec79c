"""Started by a real cron in the foreground, with the environment that it gives."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from farm_help import audit, logs, names_and_digests, wait_for

from plotfarm.base.processes import find_program
from testbed.farm import Farm
from testbed.plots import CHECKOUT

# In a mount namespace of its own: this machine's crontabs are not read, its running cron is not met.
PRIVATE = """\
set -e
mount --make-rprivate /
mount -t tmpfs none /etc/cron.d
mount -t tmpfs none /var/spool/cron
mkdir /var/spool/cron/crontabs
mount -t tmpfs none /run
mount --bind "$1" /etc/crontab
exec "$2" -f
"""


def _may_mount() -> bool:
    trial = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


@pytest.mark.root
def test_cron_starts_both_scripts(farm: Farm, put_v1: Callable[[Path, str], Path], tmp_path: Path) -> None:
    cron = find_program("cron")
    if cron is None:
        pytest.skip("cron is not installed")
    if not Path("/etc/crontab").exists() or not _may_mount():
        pytest.skip("no mount namespace can be made here")
    farm.remember_small_plots()
    plot = put_v1(farm.plots, "by cron")
    manifest = names_and_digests(farm)
    done, environment, output = tmp_path / "done", tmp_path / "environment", tmp_path / "output"
    scripts = " && ".join(
        f"{CHECKOUT / script} --config {side.config}"
        for script, side in (("drive_manager.py", farm.nas), ("plot_manager.py", farm.plotter))
    )
    crontab = tmp_path / "crontab"
    # @reboot: at once when cron starts, by the same way as every minute.
    crontab.write_text(
        f'MAILTO=""\n@reboot root env > {environment}; ({scripts}) > {output} 2>&1; '
        f"echo $? > {done}.new; mv {done}.new {done}\n"
    )
    crontab.chmod(0o644)
    process = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", PRIVATE, "sh", str(crontab), cron],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        wait_for(lambda: done.exists() or process.poll() is not None, "the end of cron's job", 60)
        assert done.exists(), process.communicate()[1]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert done.read_text() == "0\n", output.read_text() + logs(farm)
    variables = dict(line.split("=", 1) for line in environment.read_text().splitlines())
    assert variables["PATH"] == "/usr/bin:/bin"
    assert set(variables) <= {
        "PATH",
        "HOME",
        "SHELL",
        "LOGNAME",
        "USER",
        "PWD",
        "LANG",
        "LC_ALL",
        "MAILTO",
        "_",
        "SHLVL",
        "OLDPWD",
    }
    assert [path.name for path in farm.stored()] == [plot.name]
    assert re.fullmatch(rf"{re.escape(plot.name)} -> 127\.0\.0\.1:\S+  \(.*\)\n", output.read_text())
    assert f"current_plotting_drive = {farm.drives[0]}" in farm.nas.config.read_text()
    audit(farm, manifest)
