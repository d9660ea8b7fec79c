"""Standard output and error that end no run: a full disk behind them, or a reader that is gone, costs words only."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def forgive_errors_of_output() -> None:
    """Let what is printed to standard output from now on be lost where it cannot be written."""
    sys.stdout = _forgiving(sys.stdout)


def forgive_errors_of_complaints() -> None:
    """Let what is printed to standard error from now on be lost where it cannot be written."""
    sys.stderr = _forgiving(sys.stderr)


class _ForgivingFile(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _forgiving(stream: TextIO) -> TextIO:
    """Return a stream to the same file that takes everything; any that is no file's, as tests have, stays as it is."""
    if type(stream) is not io.TextIOWrapper:
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_ForgivingFile(stream.fileno(), "wb", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
