"""What an error means, and what follows from an outcome: decisions on values."""

from __future__ import annotations

import errno
import pickle

import pytest

from plotfarm.base.disk_error import Call, DiskError
from plotfarm.transfer.effects import SourceError, Stopped
from plotfarm.transfer.outcomes import Failure, Meaning, Phase, Refusal, meaning_of
from plotfarm.transfer.publish import failed_by

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSING = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EOPNOTSUPP, errno.EMFILE)
ALL_NUMBERS = (*FULL, *REFUSING, errno.EIO, errno.ESTALE, errno.EINVAL, 0)


@pytest.mark.parametrize("number", ALL_NUMBERS)
@pytest.mark.parametrize("call", [Call.FSYNC, Call.WRITE_BACK, Call.CLOSE, Call.READ])
def test_any_error_of_a_call_that_tells_of_taken_bytes_is_loss(call: Call, number: int) -> None:
    """ENOSPC of fsync too: thin storage says so when the bytes were taken long ago."""
    assert meaning_of(DiskError(call, number)) is Meaning.DATA_LOST


@pytest.mark.parametrize("number", ALL_NUMBERS)
@pytest.mark.parametrize("call", [Call.LINK, Call.RENAME, Call.UNLINK, Call.SYNC_DIRECTORY])
def test_after_any_error_of_naming_the_plot_may_be_there(call: Call, number: int) -> None:
    assert meaning_of(DiskError(call, number)) is Meaning.OUTCOME_UNKNOWN


@pytest.mark.parametrize("number", FULL)
@pytest.mark.parametrize("call", [Call.WRITE, Call.ALLOCATE, Call.CREATE, Call.XATTR])
def test_no_room_before_bytes_were_taken_is_a_full_drive(call: Call, number: int) -> None:
    assert meaning_of(DiskError(call, number)) is Meaning.DRIVE_FULL


@pytest.mark.parametrize("number", REFUSING)
@pytest.mark.parametrize("call", [Call.CREATE, Call.OPEN, Call.ALLOCATE, Call.TRUNCATE])
def test_a_refusal_loses_nothing(call: Call, number: int) -> None:
    assert meaning_of(DiskError(call, number)) is Meaning.REFUSED


@pytest.mark.parametrize("call", [Call.WRITE, Call.ALLOCATE, Call.CREATE, Call.TRUNCATE, Call.OPEN])
def test_eio_of_any_call_is_loss(call: Call) -> None:
    assert meaning_of(DiskError(call, errno.EIO)) is Meaning.DATA_LOST


def test_every_call_and_number_has_a_failure() -> None:
    for call in Call:
        for number in errno.errorcode:
            failed = failed_by(DiskError(call, number), "drive1")
            assert failed.drive == "drive1"
            assert not failed.is_resumable
            assert call.value in failed.detail


@pytest.mark.parametrize(
    ("call", "number", "failure"),
    [
        (Call.WRITE, errno.ENOSPC, Failure.DRIVE_FULL),
        (Call.FSYNC, errno.ENOSPC, Failure.IO_ERROR),
        (Call.CREATE, errno.EROFS, Failure.CANNOT_WRITE),
        (Call.LINK, errno.ENOSPC, Failure.OUTCOME_UNKNOWN),
        (Call.SYNC_DIRECTORY, errno.EIO, Failure.OUTCOME_UNKNOWN),
    ],
)
def test_the_failure_of_an_error(call: Call, number: int, failure: Failure) -> None:
    assert failed_by(DiskError(call, number), "").failure is failure


def test_another_drive_is_tried_only_where_the_drive_is_to_blame() -> None:
    assert {failure for failure in Failure if failure.is_of_drive} == {
        Failure.DRIVE_FULL,
        Failure.IO_ERROR,
        Failure.CANNOT_WRITE,
        Failure.HOLES,
        Failure.SAMPLE_DIFFERED,
        Failure.UNMOUNTED,
        Failure.PART_CHANGED,
        Failure.HANGS,
    }
    assert not Failure.SOURCE.is_of_drive
    assert not Failure.OUTCOME_UNKNOWN.is_of_drive, "elsewhere it could be stored a second time"


def test_a_plot_that_may_be_on_a_nas_goes_to_no_other() -> None:
    assert {failure for failure in Failure if failure.is_perhaps_here} == {Failure.OUTCOME_UNKNOWN}
    assert {refusal for refusal in Refusal if refusal.is_perhaps_here} == {
        Refusal.ARRIVING,
        Refusal.PUBLISHING,
        Refusal.DRIVE_SILENT,
        Refusal.QUARANTINED,
    }


def test_a_refusal_is_final_or_for_now_or_neither() -> None:
    for refusal in Refusal:
        assert refusal.is_final + refusal.is_for_now + refusal.is_perhaps_here <= 1
    assert Refusal.NO_DRIVE.is_final is Refusal.NO_DRIVE.is_for_now is False


@pytest.mark.parametrize(
    "error",
    [
        DiskError(Call.WRITE_BACK, errno.EIO),
        Stopped(Failure.HANGS, "no answer"),
        SourceError(Call.READ, errno.EIO, "the plot cannot be read"),
    ],
)
def test_errors_travel_between_processes(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert again.__dict__ == error.__dict__
    assert str(again) == str(error)


def test_phases_are_told_in_words() -> None:
    assert all(phase.value.isprintable() and phase.value for phase in Phase)
