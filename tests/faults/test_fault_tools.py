"""The tools by which things go wrong do what they are there for: a fault that never happens proves nothing."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.broken_drives import FailingDrive, ImageDrive, Kind, why_no_broken_drives
from testbed.fault_library import READS, Action, FaultLibrary, Rule, why_no_fault_library
from testbed.mounts import private_mounts
from tests.faults import auditor
from tests.faults.wire import Fault, Harm, wire

pytestmark = [
    pytest.mark.skipif(why_no_fault_library() is not None, reason=str(why_no_fault_library())),
    pytest.mark.pipe("direct"),  # they have none
]
SYNC_TWICE = """
import os, sys
file = os.open(sys.argv[1], os.O_RDWR)
for _ in range(2):
    try:
        os.fsync(file)
        print("well")
    except OSError as error:
        print(error.errno)
"""


@pytest.fixture
def mounting() -> Iterator[None]:
    """A mount namespace of one's own."""
    if why := why_no_broken_drives():
        pytest.skip(why)
    with private_mounts():
        yield


def run(library: FaultLibrary, script: str, *arguments: object) -> str:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    environment = {**os.environ, **library.environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30).stdout


@pytest.mark.parametrize("action", [Action.FAIL, Action.LOSE])
def test_the_second_sync_fails(action: Action, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    rule = Rule(["fsync"], "*/file", action, errno.ENOSPC, first=2)
    library = FaultLibrary(tmp_path / "library", rule)
    assert run(library, SYNC_TWICE, tmp_path / "file").split() == ["well", str(errno.ENOSPC)]
    assert library.happened(rule) == 1
    kept = b"content" if action is Action.FAIL else bytes(7)
    assert (tmp_path / "file").read_bytes() == kept


def test_other_files_and_what_lies_before_the_offset_are_spared(tmp_path: Path) -> None:
    for name in ("file", "other"):
        (tmp_path / name).write_bytes(bytes(100))
    failing = Rule(READS, "*/file", beyond=50, count=0)
    counting = Rule(READS, "*/other", Action.COUNT, count=0)
    library = FaultLibrary(tmp_path / "library", failing, counting)
    script = """
import os, sys
for name in sys.argv[1:]:
    file = os.open(name, os.O_RDONLY)
    for offset in (0, 50):
        try: print(len(os.pread(file, 50, offset)))
        except OSError as error: print(error.errno)
"""
    said = run(library, script, tmp_path / "file", tmp_path / "other").split()
    assert said == ["50", str(errno.EIO), "50", "50"]
    assert library.counted(counting) == 100


def test_a_process_stops_itself_and_goes_on(tmp_path: Path) -> None:
    rule = Rule(["unlink"], "*/file", Action.STOP)
    library = FaultLibrary(tmp_path / "library", rule)
    (tmp_path / "file").touch()
    command = [sys.executable, "-c", "import os, sys; os.unlink(sys.argv[1])", str(tmp_path / "file")]
    with subprocess.Popen(command, env={**os.environ, **library.environment}) as process:
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        assert (tmp_path / "file").exists()
        process.send_signal(signal.SIGCONT)
    assert process.returncode == 0
    assert not (tmp_path / "file").exists()


def test_a_library_tells_another_time(tmp_path: Path) -> None:
    library = FaultLibrary(tmp_path / "library")
    script = "import time; print(int(time.time()), int(time.monotonic()))"
    now, here = (int(word) for word in run(library, script).split())
    environment = {**os.environ, **library.environment_later(hours=2)}
    told = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    later, there = (int(word) for word in told.stdout.split())
    assert 7200 <= later - now < 7260
    assert there - here < 60


@pytest.mark.parametrize(
    ("fault", "arrives"),
    [
        (None, bytes(1000)),
        (Fault(Harm.FLIP, 500), bytes(500) + b"\x01" + bytes(499)),
        (Fault(Harm.CUT, 500), bytes(500)),
    ],
    ids=["nothing", "flip", "cut"],
)
def test_what_goes_over_the_wire(fault: Fault | None, arrives: bytes, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nas, wire() as line:
        port = nas.getsockname()[1]
        line.faults = [fault] if fault else []
        library = FaultLibrary(tmp_path / "library", redirect=(range(port, port + 1), line.port))
        taken = bytearray()

        def take() -> None:
            connection, _ = nas.accept()
            with connection:
                while data := connection.recv(65536):
                    taken.extend(data)

        taking = threading.Thread(target=take)
        taking.start()
        script = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1]))).sendall(bytes(1000))"
        run(library, script, port)
        taking.join(10)
        assert bytes(taken) == arrives
        assert line.passed == [len(arrives)]


@pytest.mark.root
@pytest.mark.parametrize("kind", [Kind.EXT4, Kind.XFS])
def test_a_failing_drive_loses_what_is_written_meanwhile_and_works_again(
    kind: Kind, tmp_path: Path, mounting: None
) -> None:
    drive = FailingDrive(kind, tmp_path / "memory", tmp_path / "drive")
    descriptor = os.open(drive.place / "file", os.O_RDWR | os.O_CREAT)
    with drive.fail():
        os.pwrite(descriptor, b"x" * 12 * 2**20, 0)
        with pytest.raises(OSError, match=r"Input/output error|No space left") as failed:
            os.fsync(descriptor)
        assert failed.value.errno in (errno.EIO, errno.ENOSPC)
    os.fsync(descriptor)  # and this one says nothing, which is the trap
    os.close(descriptor)
    drive.forget_cache()
    assert (drive.place / "file").read_bytes() != b"x" * 12 * 2**20
    (drive.place / "file").write_bytes(b"again")
    drive.forget_cache()
    assert (drive.place / "file").read_bytes() == b"again"


@pytest.mark.root
@pytest.mark.parametrize("kind", [Kind.EXT4, Kind.XFS])
def test_a_power_cut_loses_what_is_not_on_the_drive(kind: Kind, tmp_path: Path, mounting: None) -> None:
    drive = ImageDrive(kind, tmp_path / "image", tmp_path / "drive")
    with open(drive.place / "synced", "wb") as file:
        file.write(b"synced")
        file.flush()
        os.fsync(file.fileno())
    (drive.place / "not-synced").write_bytes(b"not synced")
    drive.copy_as_after_a_power_cut(tmp_path / "copy", tmp_path / "after")
    drive.cut_power()
    for place in (drive.place, tmp_path / "after"):
        assert (place / "synced").read_bytes() == b"synced"
        assert not (place / "not-synced").exists() or (place / "not-synced").read_bytes() != b"not synced"


def test_the_auditor_knows_parts_with_an_arrival_and_what_was_spoilt(tmp_path: Path) -> None:
    for name in ("plots", "drive"):
        (tmp_path / name).mkdir()
    plot = tmp_path / "plots" / "plot-k32-1.plot"
    plot.write_bytes(b"whole")
    part = tmp_path / "drive" / f"{plot.name}.0123456789abcdef.part"
    part.write_bytes(b"wh")
    scope = auditor.Scope([tmp_path / "plots"], [tmp_path / "drive"])
    noted = auditor.manifest([plot])
    assert auditor.audit(noted, scope) == []
    part.write_bytes(b"whole and more")
    assert "longer than was offered" in " ".join(auditor.audit(noted, scope))
    part.unlink()
    stored = tmp_path / "drive" / plot.name
    stored.write_bytes(b"rotten")
    assert "not whole and equal" in " ".join(auditor.audit(noted, scope))
    assert auditor.audit(noted, replace(scope, spoilt=[stored])) == []
    plot.unlink()
    assert "LOST" in " ".join(auditor.audit(noted, replace(scope, spoilt=[stored])))
