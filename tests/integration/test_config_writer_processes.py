"""Two processes that write different keys of one configuration at the same time lose nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from plotfarm.base.config import loader

WRITER = """
import sys
from pathlib import Path
from plotfarm.base.config.writer import write_values
path, section, key = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
print("ready", flush=True)
sys.stdin.readline()
for number in range(1, 41):
    write_values(path, {(section, key): str(number)})
"""


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "plot_manager_config"
    shipped = (loader.CHECKOUT / "plot_manager_config").read_text()
    path.write_text(shipped.replace("locks = locks", f"locks = {tmp_path}/locks"))
    keys = ["current_total_plots_midnight", "current_total_plots_daily"]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), "plotting_information", key],
            cwd=loader.CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for key in keys
    ]
    for writer in writers:  # both are there before either starts
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    reads = 0
    while any(writer.poll() is None for writer in writers):
        loader.load(path)  # never half written, never missing
        reads += 1
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    information = loader.load(path).plotting_information
    assert (information.current_total_plots_midnight, information.current_total_plots_daily) == (40, 40)
    assert reads > 10
    assert path.read_text().count("#") == shipped.count("#")
