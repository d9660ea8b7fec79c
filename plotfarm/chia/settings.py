"""What Chia's own configuration says: where its log is, and in which directories it looks for plots."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plotfarm.base.config.sections import Chia
from plotfarm.chia.farm_log import Unreadable
from plotfarm.chia.rewards import MAINNET, Network

_MOST_BYTES = 4 * 2**20
_IS_MAINNET = re.compile(rb"^selected_network:\s{1,8}(?:&\w{1,32}\s{1,8})?mainnet\s{0,8}$", re.MULTILINE)
_GENESIS = re.compile(r"(?:0x)?([0-9a-f]{64})")
_REMEDY = "set [chia] home in plot_manager_config, and let this user read it"


@dataclass(frozen=True)
class PlotDirectories:
    """Where Chia's harvester looks for plots."""

    directories: tuple[str, ...]  # absolute, links followed
    recursive: bool  # also in the directories below them


def log_path(settings: Chia) -> Path:
    """Return the path of Chia's log."""
    if settings.log:
        return Path(os.path.expanduser(settings.log))
    return Path(os.path.expanduser(settings.home)) / "log" / "debug.log"


def certificate_and_key(settings: Chia, service: str) -> tuple[Path, Path]:
    """Return where Chia keeps the private certificate and the key of one of its services, such as `wallet`."""
    directory = Path(settings.home).expanduser() / "config" / "ssl" / service
    return directory / f"private_{service}.crt", directory / f"private_{service}.key"


def authority_of(certificate: Path) -> Path:
    """Return where the certificate of the authority lies that has signed a service's own, as Chia has it."""
    return certificate.parent.parent / "ca" / "private_ca.crt"


def plot_directories(settings: Chia) -> PlotDirectories | Unreadable:
    """Return where the harvester of this host looks for plots, from Chia's config/config.yaml."""
    path = Path(os.path.expanduser(settings.home)) / "config" / "config.yaml"
    try:
        with path.open("rb") as file:
            data = _parsed(file.read(_MOST_BYTES))
    except OSError as error:
        return Unreadable(f"cannot read {path}: {error.strerror}", _REMEDY)
    except ValueError as error:
        return Unreadable(f"cannot read {path}: {error}", "look at that file")
    harvester = data.get("harvester") if isinstance(data, dict) else None
    listed = harvester.get("plot_directories") if isinstance(harvester, dict) else None
    if not isinstance(harvester, dict) or not isinstance(listed, list):
        return Unreadable(f"{path} lists no plot directories of a harvester", _REMEDY)
    paths = tuple(os.path.realpath(each) for each in listed if isinstance(each, str) and "\0" not in each)
    return PlotDirectories(paths, harvester.get("recursive_plot_scan") is True)


def network(settings: Chia) -> Network:
    """Return the network that Chia's config/config.yaml selects; the main one if that cannot be read."""
    path = Path(os.path.expanduser(settings.home)) / "config" / "config.yaml"
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES)
        if _IS_MAINNET.search(text):
            return MAINNET  # its genesis is known, and to parse the file takes longer than the rest of a run
        data = _parsed(text)
    except (OSError, ValueError):
        return MAINNET
    selected = data.get("selected_network") if isinstance(data, dict) else None
    found: Any = data
    for key in ("network_overrides", "constants", selected, "GENESIS_CHALLENGE"):
        found = found.get(key) if isinstance(found, dict) and isinstance(key, str) else None
    genesis = _GENESIS.fullmatch(str(found).lower())
    return Network(genesis[1]) if genesis else MAINNET


def _parsed(text: bytes) -> Any:
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        """A safe loader that takes tags that it does not know for nothing."""

    Loader.add_multi_constructor("", lambda loader, suffix, node: None)
    try:
        return yaml.load(text, Loader)  # noqa: S506 - it is derived from a safe loader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(f"it is not the YAML that was expected ({type(error).__name__})") from None


def not_listed(mountpoints: Iterable[str], listed: Sequence[str], recursive: bool) -> list[str]:
    """Return the mountpoints of plot drives in which Chia does not look for plots.

    A directory on the drive counts for the drive; with `recursive`, so does a directory above it.
    """
    return [place for place in mountpoints if not any(_covers(each, place, recursive) for each in listed)]


def _covers(listed: str, place: str, recursive: bool) -> bool:
    below = listed.rstrip("/") + "/"
    return listed == place or below.startswith(place.rstrip("/") + "/") or (recursive and place.startswith(below))
