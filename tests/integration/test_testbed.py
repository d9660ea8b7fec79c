"""The testbed itself: the sshd lets in whom it should, the plots are real, farms keep apart."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from testbed.farm import Farm
from testbed.plots import PlotShop, copy_as, gplot_name, plot_id, v1_name
from testbed.ports import take_port_range
from testbed.sshd import PrivateSshd, is_gone


def ssh(sshd: PrivateSshd, *command: str, key: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ssh", *sshd.client_options(key), "-o", "BatchMode=yes", sshd.address, *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_sshd_lets_in_its_own_key_and_no_other(tmp_path: Path) -> None:
    with PrivateSshd(tmp_path / "sshd") as sshd:
        assert ssh(sshd, "echo in").stdout == "in\n", sshd.log.read_text()
        stranger = ssh(sshd, "echo in", key=sshd.make_key("stranger"))
        assert (stranger.returncode, stranger.stdout) == (255, "")
        assert "Permission denied" in stranger.stderr


def test_a_restricted_key_runs_only_its_command(tmp_path: Path) -> None:
    with PrivateSshd(tmp_path / "sshd", command='echo "asked: $SSH_ORIGINAL_COMMAND"') as sshd:
        assert ssh(sshd, "cat /etc/passwd").stdout == "asked: cat /etc/passwd\n", sshd.log.read_text()


def test_after_a_restart_the_same_port_and_no_old_session(tmp_path: Path) -> None:
    with PrivateSshd(tmp_path / "sshd") as sshd:
        port = sshd.port
        session = subprocess.Popen(
            ["ssh", *sshd.client_options(), "-o", "BatchMode=yes", sshd.address, "echo up; exec sleep 1000"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert session.stdout is not None
        assert session.stdout.readline() == b"up\n"
        left = sshd.sessions()
        assert left
        sshd.restart()
        session.communicate(timeout=20)
        assert session.returncode == 255
        assert [process for process in left if not is_gone(process)] == []
        assert sshd.port == port
        assert ssh(sshd, "echo in").stdout == "in\n", sshd.log.read_text()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> PlotShop:
    return PlotShop(tmp_path_factory.mktemp("plots"))


def test_real_plots_under_realistic_names(shop: PlotShop, tmp_path: Path) -> None:
    plot = shop.v1(tmp_path)
    assert plot.name == v1_name("v1")
    assert plot.read_bytes()[:51] == b"Proof of Space Plot" + plot_id("v1")
    group = shop.gplot(tmp_path)
    assert group.name == gplot_name("group")
    content = group.read_bytes()
    assert content[:4] == b"PoS2"
    assert content[5:37] == plot_id("group")
    assert [path.name for path in tmp_path.iterdir() if path not in (plot, group)] == []


def test_a_plot_is_made_once(shop: PlotShop, tmp_path: Path) -> None:
    first = shop.v1(tmp_path)
    inodes = {path.name: path.stat().st_ino for path in shop.cache.iterdir()}
    (tmp_path / "again").mkdir()
    assert shop.v1(tmp_path / "again").read_bytes() == first.read_bytes()
    assert {path.name: path.stat().st_ino for path in shop.cache.iterdir()} == inodes


def test_copies_and_unfinished_ones(shop: PlotShop, tmp_path: Path) -> None:
    whole = shop.v1(tmp_path)
    other = copy_as(whole, tmp_path, "other")
    assert other.stat().st_size == whole.stat().st_size
    assert other.read_bytes()[19:51] == plot_id("other")
    cut, temporary = shop.unfinished(tmp_path)
    assert cut.suffix == ".plot"
    assert temporary.name.endswith(".plot.2.tmp")
    assert temporary.stat().st_size < cut.stat().st_size < whole.stat().st_size


def test_farms_have_different_ports() -> None:
    ranges = []
    locks = []
    for _ in range(5):
        ports, lock = take_port_range()
        ranges.append(ports)
        locks.append(lock)
    assert len({port for ports in ranges for port in ports}) == sum(len(ports) for ports in ranges)
    for lock in locks:
        lock.close()


def test_a_farm_writes_two_configurations_that_are_right(tmp_path: Path) -> None:
    from plotfarm.base.config.loader import load

    with Farm(tmp_path / "farm", drives=2, nas_settings={"drives.policy": "spread"}) as farm:
        plotter = load(farm.plotter.config, ["plotter.plot_directories", "nas.hosts"])
        nas = load(farm.nas.config, ["drives.directories"])
    assert plotter.plotter.plot_directories == (farm.plots,)
    assert str(farm.sshd.port) in plotter.nas.ssh_options
    assert nas.drives.directories == tuple(farm.drives)
    assert nas.drives.policy == "spread"
    assert plotter.transfer.ports == nas.transfer.ports == farm.ports
    assert not {plotter.paths.locks, plotter.paths.state} & {nas.paths.locks, nas.paths.state}
