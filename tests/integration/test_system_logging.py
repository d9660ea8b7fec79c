"""Logging as the scripts use it: real processes, real files, several writers at once."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - \w+:\d+ - (?:\w+|<module>): (DEBUG|INFO|WARNING|ERROR|CRITICAL) .*"
)

JOB = """
import logging, sys
from pathlib import Path
import system_logging
from plotfarm.base.config.loader import load

def process_control():
    log = logging.getLogger("plotfarm.example")
    log.debug("debug %s", "words")
    log.info("info words")
    log.warning("warning words")
    log.error("error words")
    log.critical("critical words")

settings = [Path(sys.argv[2])] if len(sys.argv) > 2 else []
system_logging.configure("plot_manager", load(Path(sys.argv[1])), *settings)
process_control()
print("job done")
"""


def run(program: str, config: Path, *arguments: Path) -> subprocess.CompletedProcess[str]:
    script = config.parent / "plot_manager.py"
    script.write_text(program)
    command = [sys.executable, str(script), str(config), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def configuration(tmp_path: Path, *lines: str, logs: str = "logs") -> Path:
    path = tmp_path / "plot_manager_config"
    path.write_text("\n".join([f"[paths]\nlogs = {tmp_path / logs}", *lines]) + "\n")
    return path


def words_in(tmp_path: Path, name: str) -> list[str]:
    return re.findall(r": ([A-Z]+) ", (tmp_path / "logs" / name).read_text())


def test_every_level_has_its_file_and_so_has_the_script(tmp_path: Path) -> None:
    done = run(JOB, configuration(tmp_path, "[system_logging]\nlog_level = DEBUG"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "job done\n", "")
    levels = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    for number, level in enumerate(levels):
        assert words_in(tmp_path, f"{level.lower()}.log") == levels[number:]
    assert words_in(tmp_path, "plot_manager.log") == levels
    assert sorted(os.listdir(tmp_path / "logs")) == sorted(
        [*(f"{level.lower()}.log" for level in levels), "plot_manager.log"]
    )


LATE_JOB = JOB.replace("system_logging.configure(", "system_logging.configure_late(")


def test_set_up_by_the_first_record_nothing_is_lost_or_told_twice(tmp_path: Path) -> None:
    done = run(LATE_JOB, configuration(tmp_path, "[system_logging]\nlog_level = DEBUG"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "job done\n", "")
    levels = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    assert words_in(tmp_path, "debug.log") == words_in(tmp_path, "plot_manager.log") == levels
    first = (tmp_path / "logs" / "plot_manager.log").read_text().splitlines()[0]
    assert re.search(r",\d{3} - plot_manager:9 - process_control: DEBUG debug words$", first)


def test_set_up_by_the_first_record_the_level_comes_from_the_configuration(tmp_path: Path) -> None:
    run(LATE_JOB, configuration(tmp_path, "[system_logging]\nlog_level = error"))
    assert words_in(tmp_path, "debug.log") == ["ERROR", "CRITICAL"]


def test_without_a_record_logging_is_never_set_up(tmp_path: Path) -> None:
    silent = LATE_JOB.replace("\nprocess_control()", "\nassert 'yaml' not in sys.modules")
    done = run(silent, configuration(tmp_path, "[system_logging]\nlog_level = DEBUG"))
    assert (done.stdout, done.stderr) == ("job done\n", "")
    assert not (tmp_path / "logs").exists()


def test_the_lines_look_as_they_always_did(tmp_path: Path) -> None:
    run(JOB, configuration(tmp_path, "[system_logging]\nlog_level = DEBUG"))
    first = (tmp_path / "logs" / "plot_manager.log").read_text().splitlines()[0]
    assert LINE.fullmatch(first)
    assert re.search(r",\d{3} - plot_manager:9 - process_control: DEBUG debug words$", first)


def test_the_level_comes_from_the_configuration(tmp_path: Path) -> None:
    run(JOB, configuration(tmp_path, "[system_logging]\nlog_level = error"))
    assert words_in(tmp_path, "debug.log") == ["ERROR", "CRITICAL"]


def test_debug_logs_everything_and_shows_it(tmp_path: Path) -> None:
    path = configuration(tmp_path, "[system_settings]\ndebug = on\n[system_logging]\nlog_level = ERROR")
    done = run(JOB, path)
    assert done.stderr == (tmp_path / "logs" / "debug.log").read_text()
    assert len(done.stderr.splitlines()) == 5


def test_no_logging_leaves_no_file_and_is_silent(tmp_path: Path) -> None:
    done = run(JOB, configuration(tmp_path, "[system_logging]\nlogging = False"))
    assert (done.stdout, done.stderr) == ("job done\n", "")
    assert not (tmp_path / "logs").exists()


def test_no_logging_with_debug_still_shows_it(tmp_path: Path) -> None:
    done = run(JOB, configuration(tmp_path, "[system_logging]\nlogging = no\n[system_settings]\ndebug = 1"))
    assert len(done.stderr.splitlines()) == 5
    assert not (tmp_path / "logs").exists()


def test_a_log_directory_that_cannot_be_made_does_not_stop_the_job(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run(JOB, configuration(tmp_path, logs="file/logs"))
    assert done.stdout == "job done\n"
    first, *others = done.stderr.splitlines()
    assert first.startswith(f"plot_manager: cannot write the logs in {tmp_path}/file/logs (")
    assert "Not a directory" in first
    assert "set [paths] logs" in first
    assert others == ["WARNING warning words", "ERROR error words", "CRITICAL critical words"]


def test_a_log_directory_of_somebody_else_does_not_stop_the_job(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "logs").mkdir(mode=0o500)
    done = run(JOB, configuration(tmp_path))
    assert done.stdout == "job done\n"
    assert "Permission denied" in done.stderr.splitlines()[0]


@pytest.mark.parametrize(
    "content", [None, "", "version: 1\n  root: [", "version: 1\nroot: {handlers: [x]}\nhandlers: {}\n", "\x00\xff"]
)
def test_a_broken_logging_yaml_does_not_stop_the_job(tmp_path: Path, content: str | None) -> None:
    settings = tmp_path / "logging.yaml"
    if content is not None:
        settings.write_text(content)
    done = run(JOB, configuration(tmp_path), settings)
    assert done.stdout == "job done\n"
    first, *others = done.stderr.splitlines()
    assert first.startswith(f"plot_manager: cannot use {settings} (")
    assert others == ["WARNING warning words", "ERROR error words", "CRITICAL critical words"]


HOSTILE = """
import logging, sys
from pathlib import Path
import system_logging
from plotfarm.base.config.loader import load
system_logging.configure("hostile", load(Path(sys.argv[1])))
log = logging.getLogger("x")
name = "a\\n2021-03-19 18:50:01,830 - plot_manager:1 - x: ERROR forged\\r\\x1b[2J\\u2028\\u202e\\udcff é.plot"
log.info("Refused %s", name)
try:
    raise ValueError(name)
except ValueError:
    log.exception("It failed")
"""


def test_a_hostile_name_stays_on_its_line(tmp_path: Path) -> None:
    done = run(HOSTILE, configuration(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    lines = (tmp_path / "logs" / "debug.log").read_text(encoding="utf-8").split("\n")
    assert LINE.fullmatch(lines[0])
    assert lines[0].endswith(r"ERROR forged\r\x1b[2J\u2028\u202e\udcff é.plot")
    assert LINE.fullmatch(lines[1])
    assert lines[2] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") and line.isprintable() for line in lines[2:-1])


WRITER = """
import logging, sys
import system_logging
name, path, count, limit, backups = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
handler = system_logging.SharedRotatingFileHandler(path, limit, backups)
log = logging.getLogger("writer")
log.addHandler(handler)
log.setLevel("INFO")
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    log.info("%s %d %s end", name, number, "x" * (number % 200))
print("written", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    writers: list[subprocess.Popen[str]] = []
    yield writers
    for writer in writers:
        writer.kill()
        writer.communicate()


def start(started: list[subprocess.Popen[str]], *arguments: str | int | Path) -> subprocess.Popen[str]:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, *map(str, arguments)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started.append(writer)
    assert hear(writer) == "ready"
    return writer


def hear(writer: subprocess.Popen[str]) -> str:
    assert writer.stdout is not None
    return writer.stdout.readline().strip()


def go(writer: subprocess.Popen[str]) -> None:
    assert writer.stdin is not None
    writer.stdin.write("go\n")
    writer.stdin.flush()


def lines_of(files: Sequence[Path]) -> list[str]:
    return [line for file in files for line in file.read_text().split("\n")[:-1]]


def test_four_processes_lose_and_tear_nothing_through_rotations(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    log = tmp_path / "debug.log"
    writers = [start(started, name, log, 2000, 50_000, 100) for name in "abcd"]
    for writer in writers:
        go(writer)
    for writer in writers:
        assert hear(writer) == "written"
        go(writer)
        assert writer.wait(30) == 0
        assert writer.stderr is not None
        assert writer.stderr.read() == ""
    files = list(tmp_path.iterdir())
    assert len(files) > 10
    expected = sorted(f"{name} {number} {'x' * (number % 200)} end" for name in "abcd" for number in range(2000))
    assert sorted(lines_of(files)) == expected
    # No process rotates away the new file that another one has just begun.
    assert all(file.stat().st_size > 49_000 for file in files if file != log)


def test_old_files_go_in_order(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    log = tmp_path / "debug.log"
    writer = start(started, "a", log, 300, 2000, 3)
    go(writer)
    assert hear(writer) == "written"
    files = [tmp_path / name for name in ("debug.log.3", "debug.log.2", "debug.log.1", "debug.log")]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    numbers = [int(line.split()[1]) for line in lines_of(files)]
    assert numbers == list(range(numbers[0], 300))
    assert all(file.stat().st_size <= 2000 for file in files)


def test_a_stopped_process_that_holds_the_rotation_lock_holds_up_nobody(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    log = tmp_path / "debug.log"
    log.touch()
    flock = shutil.which("flock")
    assert flock, "flock is part of util-linux"
    holder = subprocess.Popen(
        [flock, str(log), "sh", "-c", "echo held; kill -STOP $$"], stdout=subprocess.PIPE, text=True, process_group=0
    )
    started.append(holder)
    try:
        assert hear(holder) == "held"
        writer = start(started, "a", log, 100, 1000, 3)
        go(writer)
        assert hear(writer) == "written"
        assert len(lines_of([log])) == 100  # it grew beyond its limit rather than wait
        assert list(tmp_path.iterdir()) == [log]
    finally:
        os.killpg(holder.pid, signal.SIGKILL)


def test_a_log_that_cannot_be_rotated_loses_no_record(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    log = tmp_path / "debug.log"
    (tmp_path / "debug.log.1" / "in the way").mkdir(parents=True)
    writer = start(started, "a", log, 50, 1000, 1)
    go(writer)
    assert hear(writer) == "written"
    assert len(lines_of([log])) == 50
    go(writer)
    _, errors = writer.communicate(timeout=30)
    assert errors == f"cannot write the log {log}: Is a directory\n"
