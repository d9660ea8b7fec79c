"""Reading plot_manager_config: typed values, and every mistake at once."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from plotfarm.base.config import loader, values
from plotfarm.base.config.rules import KernelPorts
from plotfarm.base.config.sections import Config, Drives, Nas
from plotfarm.base.errors import ConfigurationError

PATH = Path("/somewhere/plot_manager_config")


def mistakes_of(text: str, *demands: str, kernel: KernelPorts | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        loader.from_text(text, PATH, demands, kernel)
    assert caught.value.exit_status == 2
    assert str(PATH) in str(caught.value)
    return caught.value.mistakes


def test_every_field_has_a_reader() -> None:
    for section, keys in loader.schema().items():
        for key, field in keys.items():
            assert field.name.endswith("_bytes") or str(field.type) in values.READERS, (section, key)


def test_an_empty_file_gives_the_defaults_with_paths_beside_the_scripts() -> None:
    config = loader.from_text("", PATH)
    assert config.path == PATH
    assert config.paths.logs == loader.CHECKOUT / "logs"
    assert config.paths.state == loader.CHECKOUT / "state"
    assert config.testing.plot_directory == loader.CHECKOUT / "test_plots"
    assert config.drives == Drives()
    assert config.nas == Nas()
    assert config.transfer.verify == "sample"
    assert (config.receiving.lowest_mb_per_second, config.receiving.yield_seconds) == (2.0, 120.0)
    assert (loader.CHECKOUT / "plotfarm").is_dir()


def test_values_of_every_kind() -> None:
    config = loader.from_text(
        """
[system_settings]
DEBUG = Yes
[system_logging]
log_level = warning   # louder in winter
[paths]
logs = /var/log/plots
locks = ~/locks
[plotter]
plot_directories =
    /mnt/a, /mnt/b
    # the old one
    /mnt/c #d
    /mnt/a
settle_seconds = 0
[nas]
hosts = nas1, chia@10.0.0.5 , fe80::1%eth0
ssh_options = -p 2222 -o "UserKnownHostsFile=/home/a b/hosts"
[transfer]
ports = 5000
beat_seconds = 0.5
data_address = fd00::5
verify = READBACK
[drives]
minimum_free = 1.5 GiB
directories = /tank/plots
[receiving]
daily_quota = 8 TB
lowest_mb_per_second = 0
yield_seconds = 30
[testing]
minimum_size = 0
plot_directory = elsewhere
""",
        PATH,
    )
    assert config.system_settings.debug is True
    assert config.system_logging.log_level == "WARNING"
    assert config.paths.logs == Path("/var/log/plots")
    assert config.paths.locks == Path("~/locks").expanduser()
    assert config.plotter.plot_directories == (Path("/mnt/a"), Path("/mnt/b"), Path("/mnt/c"))
    assert config.plotter.settle_seconds == 0
    assert config.nas.hosts == ("nas1", "chia@10.0.0.5", "fe80::1%eth0")
    assert config.nas.ssh_options == ("-p", "2222", "-o", "UserKnownHostsFile=/home/a b/hosts")
    assert config.transfer.ports == range(5000, 5001)
    assert config.transfer.beat_seconds == 0.5
    assert config.transfer.data_address == "fd00::5"
    assert config.transfer.verify == "readback"
    assert config.drives.minimum_free_bytes == 3 * 2**29
    assert config.drives.directories == (Path("/tank/plots"),)
    assert config.receiving.daily_quota_bytes == 8 * 10**12
    assert config.receiving.lowest_mb_per_second == 0.0
    assert config.receiving.yield_seconds == 30.0
    assert config.testing.minimum_size_bytes == 0
    assert config.testing.plot_directory == loader.CHECKOUT / "elsewhere"


def test_the_file_of_the_older_system_is_accepted() -> None:
    config = loader.from_text(
        """[system_settings]
debug = False

[system_logging]
logging = True
log_level = DEBUG

[notifications]
alerting = True
pb = True
email = True
sms = True
new_plot_drive = 1
daily_update = 1
per_plot = 0

[plotting_drives]
current_plotting_drive = /mnt/enclosure0/front/column3/drive18

[plotting_information]
current_total_plots_midnight = 2883
current_total_plots_daily = 79

[remote_transfer]
remote_transfer_active = False
""",
        PATH,
    )
    assert config.plotting_drives.current_plotting_drive == "/mnt/enclosure0/front/column3/drive18"
    assert config.plotting_information.current_total_plots_midnight == 2883
    assert config.notifications.new_plot_drive is True
    assert config.notifications.per_plot is False


def test_five_mistakes_are_shown_together() -> None:
    lines = mistakes_of(
        """[plotter]
setle_seconds = 5
keep_source = perhaps
[drives]
policy = best
minimum_free = 2 GiX
[transfer]
ports = 4139-4040
"""
    )
    assert len(lines) == 5
    assert lines[0] == "[plotter] setle_seconds: unknown key, did you mean settle_seconds?"
    assert lines[1].startswith("[plotter] keep_source = perhaps: True or False is allowed")
    assert lines[2].startswith("[transfer] ports = 4139-4040: a range such as 4040-4139")
    assert lines[3] == "[drives] policy = best: one of fill, spread is allowed"
    assert lines[4].startswith("[drives] minimum_free = 2 GiX: a size is allowed")


@pytest.mark.parametrize(
    ("section", "line", "said"),
    [
        ("system_settings", "debug =", "is empty: True or False"),
        ("system_logging", "log_level = LOUD", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL is allowed"),
        ("plotting_drives", "current_plotting_drive = drive3", "an absolute path"),
        ("plotting_information", "current_total_plots_daily = 1_0", "a whole number is allowed"),
        ("paths", "state =", "must not be empty"),
        ("paths", "logs = ~nobody-of-that-name/x", "a user of this host"),
        ("plots", "other_suffixes = .drplot, newplot", "with their dot, and 'newplot' is none"),
        ("plots", "other_suffixes = .Part", "that of an unfinished one"),
        ("plots", "other_suffixes = .a/b", "with their dot"),
        ("plotter", "plot_directories = /a, b", "start with /, and 'b' is none"),
        ("plotter", "settle_seconds = -1", "a whole number of at least 0 is allowed"),
        ("plotter", "settle_seconds = 9" + "9" * 5000, "a whole number of at least 0 is allowed"),
        ("plotter", "keep_source = yes\n warn = 3", "a line that starts with a space continues the one above"),
        ("plotter", "minimum_free = 1", "unknown key, it belongs in [drives]"),
        ("nas", "hosts = a, -oProxyCommand=x", "'-oProxyCommand=x' is not that"),
        ("nas", "hosts = me@-x", "'me@-x' is not that"),
        ("nas", "hosts = nas one", "'nas one' is not that"),
        ("nas", "hosts = nas$(id)", "host or user@host is allowed"),
        ("nas", "hosts = nas\x07", r"= nas\x07: no control characters"),
        ("nas", "ssh_options = -o 'a", "no closing quotation"),
        ("nas", "receive_command = receive_plot.sh", "an absolute path is allowed"),
        ("nas", "connect_timeout_seconds = 0", "at least 1"),
        ("transfer", "netcat = nc -N", "without spaces"),
        ("transfer", "netcat = -e", "a program's name"),
        ("transfer", "ports = 80", "from 1024 to 65535"),
        ("transfer", "ports = 65000-65536", "from 1024 to 65535"),
        ("transfer", "data_address = nas", "one IP address of this host"),
        ("transfer", "data_address = 0.0.0.0", "one IP address of this host"),
        ("transfer", "verify = maybe", "one of wire, sample, readback is allowed"),
        ("receiving", "lowest_mb_per_second = -1", "at least 0"),
        ("receiving", "yield_seconds = 0.5", "at least 1"),
        ("transfer", "beat_seconds = nan", "a number of at least 0.05 is allowed"),
        ("transfer", "beat_seconds = 0.01", "a number of at least 0.05 is allowed"),
        ("transfer", "beat_seconds = 25", "silence_seconds = 45.0: more than twice beat_seconds (25)"),
        ("transfer", "silence_seconds = 20", "more than twice beat_seconds (10)"),
        ("receiving", "daily_quota = -1", "a size is allowed"),
        ("receiving", "daily_quota = " + "9" * 400 + ".5", "a size is allowed"),
        ("drives", "mounts = mnt/*", "only absolute paths"),
        ("drives", "directories = tank", "only absolute paths"),
        ("drvies", "policy = fill", "[drvies]: unknown section, did you mean drives?"),
        ("DEFAULT", "policy = fill", "[DEFAULT]: unknown section"),
    ],
)
def test_each_mistake_has_its_message(section: str, line: str, said: str) -> None:
    lines = mistakes_of(f"[{section}]\n{line}\n")
    assert len(lines) == 1
    assert said in lines[0]
    assert f"[{section}]" in lines[0]
    assert lines[0].isprintable()


def test_mistakes_in_the_structure_carry_their_lines_and_do_not_hide_the_others() -> None:
    lines = mistakes_of(
        """stray
[plotter]
settle_seconds = 5
settle_seconds = 6
not a key
[drives]
policy = fill
[plotter]
keep_source = True
[testing]
testing = maybe
"""
    )
    assert lines == [
        "line 1: it stands before any [section]",
        "line 4: [plotter] settle_seconds comes twice: keep one of them",
        "line 5: it is neither 'key = value', [section] nor # comment",
        "line 8: section [plotter] comes twice: put its keys together in one",
        "[testing] testing = maybe: True or False is allowed (also yes/no, on/off, 1/0)",
    ]


def test_keys_that_differ_in_case_only_are_the_same_key() -> None:
    assert mistakes_of("[plotter]\nkeep_source = 1\nKeep_Source = 0\n") == [
        "line 3: [plotter] keep_source comes twice: keep one of them"
    ]


def test_a_file_that_is_something_else_ends_soon() -> None:
    lines = mistakes_of("some words\n" * 10_000)
    assert len(lines) == 51
    assert lines[-1] == "and more: is this a configuration?"


@pytest.mark.parametrize(
    ("ports", "refused"), [("32000-32767", False), ("32700-32800", True), ("61000", False), ("60999-61005", True)]
)
def test_ports_stay_clear_of_the_kernels_own(ports: str, refused: bool) -> None:
    text, kernel = f"[transfer]\nports = {ports}\n", KernelPorts(32768, 60999)
    if refused:
        assert "only ports outside 32768-60999 are allowed" in mistakes_of(text, kernel=kernel)[0]
    else:
        assert loader.from_text(text, PATH, kernel=kernel).transfer.ports


def test_default_ports_are_checked_too_and_can_be_set_aside() -> None:
    lines = mistakes_of("", kernel=KernelPorts(1024, 65535))
    assert lines[0].startswith("[transfer] ports = 4040-4139: only ports outside 1024-65535")
    assert loader.from_text("", PATH, kernel=KernelPorts(1024, 65535, (range(4000, 4200),))).transfer.ports


def test_the_kernels_ports_of_this_host_are_known() -> None:
    low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    assert (loader.kernel_ports().low, loader.kernel_ports().high) == (int(low), int(high))


def test_what_a_script_demands_must_not_be_empty() -> None:
    lines = mistakes_of("[nas]\nhosts = ,\n", "plotter.plot_directories", "nas.hosts")
    assert lines == [
        "[plotter] plot_directories is empty: this script needs a value here, it must not be empty",
        "[nas] hosts = ,: this script needs a value here, it must not be empty",
    ]
    assert loader.from_text("[nas]\nhosts = a", PATH, ["nas.hosts"]).nas.hosts == ("a",)


def test_a_demanded_value_with_a_mistake_is_one_mistake() -> None:
    assert len(mistakes_of("[plotter]\nplot_directories = ~no-such-user/x\n", "plotter.plot_directories")) == 1


_AWKWARD = ["~", "~\0", "1", "-", "a-b", "1e400", "²", "٣", "'", "%(x)s"]
_LINES = st.one_of(
    st.text(max_size=30),
    st.sampled_from([f"[{section.name}]" for section in fields(Config)]),
    st.builds(
        lambda key, value: f"{key} = {value}",
        st.sampled_from([key for keys in loader.schema().values() for key in keys]),
        st.one_of(st.text(max_size=30), st.sampled_from(_AWKWARD)),
    ),
)


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_LINES, max_size=12))
@example(["[plotter]", "plot_directories = ~\0"])
@example(["[]", "[[]", "[plotter", "= 3", " = 3"])
@example(["[a]", "\x1b = 1", "\x1b = 2", "[\x1b]", "[\x1b]"])
def test_no_text_breaks_the_reader(lines: list[str]) -> None:
    try:
        config = loader.from_text("\n".join(lines), PATH, ["nas.hosts"])
    except ConfigurationError as error:
        assert error.mistakes  # noqa: PT017
        assert all(line.isprintable() for line in error.mistakes)  # noqa: PT017
    else:
        assert config.nas.hosts
