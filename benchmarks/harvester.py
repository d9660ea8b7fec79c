"""What a harvester does all day: looks plots up, a few small reads here and there on whichever drive they lie."""

from __future__ import annotations

import concurrent.futures
import contextlib
import mmap
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

# A plot that passes the filter: about eight reads, each where the one before pointed to.
READS = 8
EVERY_SECONDS = 0.2
_READ_BYTES = 16 * 1024
_AT_ONCE = 64  # a slow lookup does not keep the next one waiting


def lookup(file: Path) -> None:
    """Look one plot up, past the page cache."""
    descriptor = os.open(file, os.O_RDONLY | os.O_DIRECT)
    try:
        places = os.fstat(descriptor).st_size // _READ_BYTES
        with mmap.mmap(-1, _READ_BYTES) as buffer:
            for _ in range(READS):
                os.preadv(descriptor, [buffer], random.randrange(places) * _READ_BYTES)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def harvester(files: list[Path]) -> Iterator[list[float]]:
    """Look up one of `files` every 0.2 s for a while; gives the list of how many seconds each lookup took."""
    seconds: list[float] = []
    stop = threading.Event()

    def timed(due: float) -> None:
        lookup(random.choice(files))
        seconds.append(time.monotonic() - due)

    def run() -> None:
        due = time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())):
            pool.submit(timed, due)
            due += EVERY_SECONDS

    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield seconds
        finally:
            stop.set()
            thread.join()
