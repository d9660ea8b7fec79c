"""What other users of a host can make odd: mounts, processes and their environments, the content of locks.

Nothing of it may stop a script: what makes sense is read, what does not is skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plotfarm.base.locks import Lock, LockBusy, file_system_of, holder, is_alive, last_content, process_started
from plotfarm.drives.mount_table import Mount, covering, parse_mount_table
from plotfarm.drives.mounts import parse_fstab
from plotfarm.drives.offlined import parse_offlined
from plotfarm.drives.reservations import Reservations
from plotfarm.transfer.netcat import OWNER, stale_listeners

CHECKOUT = Path(__file__).parents[2]
# Each of these ends a line or a word of text, or is no text at all.
ODD = ["\v", "\f", "\r", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\xa0", "\udcff", "\x1b[2J"]
DRIVE = b"40 27 8:17 / /mnt/drive1 rw shared:1 - xfs /dev/sdb1 rw\n"


def as_kernel_writes(name: str) -> bytes:
    """A name as it stands in mountinfo: fs/proc_namespace.c escapes these and no others."""
    return b"".join(b"\\%03o" % byte if byte in b" \t\n\\#" else bytes([byte]) for byte in os.fsencode(name))


def line_of(mountpoint: str, source: str = "odd") -> bytes:
    name, device = as_kernel_writes(mountpoint), as_kernel_writes(source)
    return b"41 27 0:50 / " + name + b" rw,nosuid - fuse.bindfs " + device + b" rw,user_id=1000\n"


# ---- Mounts ----


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("source", ["odd", "", "a b"])
def test_an_odd_mount_is_one_mount_and_the_others_are_there(odd, source):
    place = f"/home/mallory/a{odd}b c"
    first, second = parse_mount_table(line_of(place, source) + DRIVE)
    assert (first.mountpoint, first.source, first.device_number) == (place, source, os.makedev(0, 50))
    assert (second.mountpoint, second.file_system) == ("/mnt/drive1", "xfs")


_NAMES = st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name and b"/" not in name)


@given(_NAMES, _NAMES)
def test_whatever_a_mount_is_called_it_is_read_as_that(name, source):
    place = os.fsdecode(b"/mnt/" + name)
    first, second = parse_mount_table(line_of(place, os.fsdecode(source)) + DRIVE)
    assert os.fsencode(first.mountpoint) == b"/mnt/" + name
    assert os.fsencode(first.source) == source
    assert second.mountpoint == "/mnt/drive1"
    assert covering(place + "/below", [first, second]) == first


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_no_content_of_the_mount_table_hides_a_mount_that_makes_sense(before, after):
    table = parse_mount_table(before + b"\n" + DRIVE + after)
    assert Mount(40, os.makedev(8, 17), "/", "/mnt/drive1", False, "xfs", "/dev/sdb1") in table


@pytest.mark.parametrize(
    "line",
    [b"nonsense", b"40 27 8 / /mnt/x rw - xfs /dev/sdc1 rw", b"40 27 8:1 / /mnt/x rw", b"40 27 8:1 / /x rw - xfs",
     b"x 27 8:1 / /x rw - xfs /dev/sdc1 rw", b"40 27 8:" + b"9" * 30 + b" / /x rw - xfs /dev/sdc1 rw",
     b"40 27 8:" + b"9" * 5000 + b" / /x rw - xfs /dev/sdc1 rw", b"\xff\xfe"],
)  # fmt: skip
def test_a_line_that_makes_no_sense_is_skipped_and_said(line, caplog):
    (mount,) = parse_mount_table(line + b"\n" + DRIVE)
    assert mount.mountpoint == "/mnt/drive1"
    (record,) = caplog.records
    assert "is skipped" in record.getMessage()
    assert record.getMessage().isascii()
    assert len(record.getMessage()) < 400


def test_the_file_system_under_a_path_is_found_whatever_else_is_mounted(monkeypatch, tmp_path):
    number = os.stat(tmp_path).st_dev
    device = f"{os.major(number)}:{os.minor(number)}".encode()
    odd = b"".join(line_of(f"/home/mallory/a{odd}b") for odd in ODD)
    content = odd + b"nonsense\n42 1 " + device + b" / /tmp rw - \xffs x rw\n"
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: content if self.name == "mountinfo" else real(self))
    assert file_system_of(tmp_path) == "\udcffs"


@pytest.mark.parametrize("odd", [odd for odd in ODD if odd != "\r"])
def test_a_name_in_fstab_and_among_the_offlined_drives_may_hold_what_ends_a_line_of_text(odd):
    (drive,) = parse_fstab(f"/dev/sdb1 /mnt/a{odd}b xfs ro 0 0\n")
    assert (drive.mountpoint, drive.file_system, drive.is_meant_read_only) == (f"/mnt/a{odd}b", "xfs", True)
    assert parse_offlined(f"/mnt/a{odd}b\ndrive7\n") == {f"/mnt/a{odd}b", "drive7"}


@given(st.text())
def test_no_fstab_and_no_list_of_offlined_drives_breaks_its_reader(text):
    assert all("\0" not in drive.mountpoint for drive in parse_fstab(text))
    assert "" not in parse_offlined(text)


# ---- Processes ----

_RENAMED = """
import ctypes, sys
ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[1]))  # PR_SET_NAME
print("ready", flush=True)
sys.stdin.read()
"""


def started(code, *arguments, environment=None):
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize("name", [b"\xff\xfe", b") Z 1 2 (", b"a b\nc", "\x85\u2028".encode(), b"\r\v"])
def test_when_a_process_started_is_known_whatever_it_calls_itself(name):
    with started(_RENAMED, name.hex()) as process:
        began = process_started(process.pid)
        assert isinstance(began, int)
        assert is_alive({"pid": process.pid, "started": began})
        assert not is_alive({"pid": process.pid, "started": began + 1})


_READY = "import sys; print('ready', flush=True); sys.stdin.read()"
_ODD_ENVIRONMENTS = [
    {f"{OWNER}".encode(): "²:²".encode()},
    {OWNER.encode(): b"9" * 5000 + b":1"},
    {OWNER.encode(): b"1:" + b"9" * 5000},
    {OWNER.encode(): b"\xff:\xfe"},
    {OWNER.encode(): b""},
    {OWNER.encode() + b"S": b"1:1"},
    {b"A": b"\n" + OWNER.encode() + b"=1:1"},
]


@pytest.mark.parametrize("odd", _ODD_ENVIRONMENTS)
def test_a_process_with_an_odd_environment_is_no_listener_of_this_suite_and_stops_nothing(odd):
    with started(_READY, environment={**os.environb, **odd}) as process:
        assert process.pid not in stale_listeners()


def test_kill_nc_leaves_a_process_with_an_odd_environment_alone():
    with started(_READY, environment={**os.environb, OWNER.encode(): "²:²".encode()}) as process:
        done = subprocess.run([CHECKOUT / "kill_nc.sh", "--dry-run"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert str(process.pid) not in done.stdout.replace(":", ",").split(",")


# ---- Locks ----

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_KEYS = ["pid", "started", "host", "plot", "bytes", "written_bytes", "identity", "plotter", "since", "offset",
         "progress", "arrival_id", "publishing"]  # fmt: skip
_CONTENTS = st.one_of(
    st.binary(max_size=200),
    _JSON.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(_KEYS), _JSON).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([b"[" * 60_000, b'{"pid": ' + b"9" * 6000 + b"}", b'{"pid": 1e999, "started": NaN}',
                     b'{"pid": true, "started": true}', b'{"pid": -1, "started": 1}', b"\xff\xfe{\0}\0"]),
)  # fmt: skip


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """A lock that another process holds; anybody may have written into it."""
    path = tmp_path_factory.mktemp("locks") / "drive-mount%3A%2Fmnt%2Fdrive1.lock"
    code = "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX);" + _READY
    with started(code, str(path)):
        yield path


@given(content=_CONTENTS)
def test_no_content_of_a_lock_breaks_whoever_reads_it(held, content):
    held.write_bytes(content)
    assert isinstance(holder(held), dict)
    assert isinstance(last_content(held), dict)
    assert is_alive(last_content(held)) in (True, False)
    with pytest.raises(LockBusy) as busy:
        Lock(held).acquire()
    assert str(busy.value).isprintable()
    assert len(str(busy.value)) < 400
    (arrival,) = Reservations(held.parent).arrivals()
    assert arrival.bytes == int(arrival.bytes)
    assert abs(arrival.progress) < 2**64
    assert all(isinstance(since, float) for since in Reservations(held.parent).last_served().values())


def test_a_lock_of_a_process_that_ended_is_not_alive(tmp_path):
    with started(_READY) as process:
        content = {"pid": process.pid, "started": process_started(process.pid)}
        assert is_alive(content)
    assert not is_alive(content)
    assert process_started(2**62) is None
