"""Real plots, small enough for a test: made by chiapos and chia_rs, the libraries that farmers plot with.

Every plot is made from a seed, so the same seed gives the same plot id and name. Making one takes a second
or two; `PlotShop` makes each plot once and copies it from then on.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
MADE = "2026-11-23-18-47"  # the time in the names of plots
_MEMO = bytes(range(112))  # as long as that of a pool plot; a real one would hold a secret key
_ID_OFFSET_V1 = 19  # after the 19 bytes of "Proof of Space Plot"


def plot_id(seed: str) -> bytes:
    """Return the 32 bytes of the plot (or group) id that `seed` stands for."""
    return hashlib.sha256(seed.encode()).digest()


def v1_name(seed: str, k: int = 18, level: str = "") -> str:
    """Return the name that chiapos gives a plot, or a compressed-style one: `level` is then such as `c07`."""
    prefix = f"plot-k{k}-{level}-" if level else f"plot-k{k}-"
    return f"{prefix}{MADE}-{plot_id(seed).hex()}.plot"


def gplot_name(seed: str, k: int = 18) -> str:
    """Return a name for a plot group; there is no settled pattern, so one like those of `.plot2` files."""
    return f"plot-k{k}-{plot_id(seed).hex()}.gplot"


def make_v1(path: Path, k: int = 18, seed: str = "v1") -> Path:
    """Make a v1 plot with chiapos (k18: about 4 MB); its temporary files lie beside it. Returns `path`."""
    _make("v1", path, k, seed)
    return path


def make_gplot(path: Path, k: int = 18, seed: str = "group") -> Path:
    """Make a v2 plot group of one plot with chia_rs (k even; k18: about 0.65 MB). Returns `path`."""
    _make("gplot", path, k, seed)
    return path


def make_plot2(path: Path, chunks: int = 4) -> Path:
    """Write a `.plot2` that is whole by its own header: no library makes them any more. Returns `path`."""
    header = b"pos2" + bytes([1]) + plot_id(path.name) + bytes([28, 2, 0, 0, 0, len(_MEMO)]) + _MEMO
    begin = len(header) + 8 + 8 * chunks
    chunk = struct.pack("<Q", 100_000) + os.urandom(100_000)
    offsets = [begin + number * len(chunk) for number in range(chunks)]
    path.write_bytes(header + struct.pack(f"<Q{chunks}Q", chunks, *offsets) + chunk * chunks)
    return path


def make_unfinished(directory: Path, whole: Path, seed: str = "unfinished") -> tuple[Path, Path]:
    """Leave in `directory` what two plotters in the middle of their work leave, cut from a `whole` v1 plot.

    Returns a `.plot` that was cut off (a plotter or a copy that died) and a chiapos `.plot.2.tmp`.
    """
    cut = directory / v1_name(seed)
    temporary = directory / f"{v1_name(seed + ' temporary')}.2.tmp"
    content = whole.read_bytes()
    cut.write_bytes(_with_id(content, seed)[: len(content) * 2 // 3])
    temporary.write_bytes(_with_id(content, seed + " temporary")[: len(content) // 2])
    return cut, temporary


def copy_as(whole: Path, directory: Path, seed: str, k: int = 18) -> Path:
    """Copy a v1 plot under another plot id: whole by its header and size, and no work for the plotter."""
    path = directory / v1_name(seed, k)
    path.write_bytes(_with_id(whole.read_bytes(), seed))
    return path


def _with_id(content: bytes, seed: str) -> bytes:
    return content[:_ID_OFFSET_V1] + plot_id(seed) + content[_ID_OFFSET_V1 + 32 :]


class PlotShop:
    """Makes each plot once, keeps it in `cache` (safe for several processes), and hands out copies."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        cache.mkdir(parents=True, exist_ok=True)

    def v1(self, directory: Path, seed: str = "v1", k: int = 18) -> Path:
        """Put a v1 plot into `directory`."""
        return self._deliver("v1", directory / v1_name(seed, k), k, seed)

    def gplot(self, directory: Path, seed: str = "group", k: int = 18) -> Path:
        """Put a plot group of one into `directory`."""
        return self._deliver("gplot", directory / gplot_name(seed, k), k, seed)

    def compressed_style(self, directory: Path, seed: str = "compressed", k: int = 18) -> Path:
        """Put a v1 plot into `directory` under a name like those of compressed plots."""
        return self._deliver("v1", directory / v1_name(seed, k, "c07"), k, seed)

    def unfinished(self, directory: Path, seed: str = "unfinished") -> tuple[Path, Path]:
        """Put a cut plot and a temporary file into `directory`."""
        return make_unfinished(directory, self._kept("v1", 18, "v1"), seed)

    def _deliver(self, kind: str, path: Path, k: int, seed: str) -> Path:
        shutil.copy2(self._kept(kind, k, seed), path)
        return path

    def _kept(self, kind: str, k: int, seed: str) -> Path:
        kept = self.cache / f"{kind}-k{k}-{plot_id(seed).hex()}"
        with open(f"{kept}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                made = kept.with_suffix(".made")
                _make(kind, made, k, seed)
                made.rename(kept)
        return kept


def _make(kind: str, path: Path, k: int, seed: str) -> None:
    """Make a plot in a process of its own: chiapos writes a page of progress straight to its stdout."""
    subprocess.run(
        [sys.executable, "-m", "testbed.plots", kind, str(path.absolute()), str(k), seed],
        cwd=CHECKOUT,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _make_v1_here(path: Path, k: int, seed: str) -> None:
    from chiapos import DiskPlotter

    stripe = 2000 if k < 20 else 8192  # chiapos needs small stripes for small plots
    folder = str(path.parent)
    DiskPlotter().create_plot_disk(folder, folder, folder, path.name, k, _MEMO, plot_id(seed), 100, 0, stripe, 0, False)


def _make_gplot_here(path: Path, k: int, seed: str) -> None:
    from chia_rs import create_v2_single_plot_group
    from chia_rs.sized_bytes import bytes32
    from chia_rs.sized_ints import uint8, uint16

    # chia_rs writes under the final name; a rename shows the others only the whole plot.
    partial = path.with_name(path.name + ".partial")
    create_v2_single_plot_group(os.fspath(partial), k, 2, bytes32(plot_id(seed)), uint16(0), uint8(0), _MEMO)
    partial.rename(path)


if __name__ == "__main__":
    make = {"v1": _make_v1_here, "gplot": _make_gplot_here}[sys.argv[1]]
    make(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
