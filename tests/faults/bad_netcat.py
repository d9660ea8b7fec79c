"""A netcat that does what a bad network, a bad card or a bad netcat might: it stands in for the real one.

`bad_netcat.py FAULT REAL_NETCAT ARGUMENTS...` runs the real netcat and hands on the plot's bytes, with one fault:
flip (one byte), truncate (the end is swallowed), append (more than there was), early (it ends in the middle, with
status 0), stall (it stops handing on, and does not end), none. With `-h` it is the real netcat.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

AT_BYTE = 2_000_000  # in the midst of a k18 plot
_PIECE = 65536


def main(argv: Sequence[str]) -> int:
    """Be netcat, nearly."""
    fault, netcat, *arguments = argv
    if arguments == ["-h"]:
        os.execv(netcat, [netcat, "-h"])
    listens = "-l" in arguments
    # Dies with this process, as netcat does with the process that started it.
    command = ["setpriv", "--pdeathsig", "KILL", "--", netcat, *arguments]
    if listens:
        real = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert real.stdout is not None
        hand_on(real.stdout.fileno(), 1, fault)
        os.close(1)
    else:
        real = subprocess.Popen(command, stdin=subprocess.PIPE)
        assert real.stdin is not None
        hand_on(0, real.stdin.fileno(), fault)
        real.stdin.close()
    if fault == "early":
        real.kill()
        return 0
    return real.wait()


def hand_on(source: int, target: int, fault: str) -> None:
    """Copy until the end, with the fault at AT_BYTE."""
    done = 0
    while piece := os.read(source, _PIECE):
        if done <= AT_BYTE < done + len(piece):
            index = AT_BYTE - done
            if fault == "flip":
                piece = piece[:index] + bytes([piece[index] ^ 1]) + piece[index + 1 :]
            elif fault == "early":
                _write(target, piece[:index])
                return
        if fault not in ("truncate", "stall") or done + len(piece) <= AT_BYTE:
            _write(target, piece)
        elif fault == "stall":
            os.read(os.pipe()[0], 1)  # for ever: both ends of that pipe are here
        done += len(piece)
    if fault == "append":
        for _ in range(64):
            _write(target, b"more than was offered" * 1000)


def _write(target: int, piece: bytes) -> None:
    while piece:
        piece = piece[os.write(target, piece) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
