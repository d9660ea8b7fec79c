"""Whether other users of a host can read the secrets of its configuration, there or in files that it names."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path

from plotfarm.base.config.sections import Config
from plotfarm.base.secret import Secret


def files_with_secrets(config: Config) -> list[Path]:
    """Return the files that may hold secrets: the configuration, and those that it names by `file:`."""
    named = [secret.file for secret in _secrets(config) if secret.file is not None]
    return list(dict.fromkeys([config.path, *named]))


def exposed(config: Config) -> list[Path]:
    """Return which of them hold secrets and can be read by all users of this host."""
    holds_any = any(secret.is_literal for secret in _secrets(config))
    own = [config.path] if holds_any and _is_readable(config.path) else []
    return [*own, *(path for path in files_with_secrets(config) if path != config.path and is_within_reach(path))]


def is_within_reach(path: Path) -> bool:
    """Tell whether all users may read a file, and get to it: what root keeps at home is his, whatever its mode."""
    target = Path(os.path.realpath(path))
    try:
        return _is_readable(target) and all(place.stat().st_mode & stat.S_IXOTH for place in target.parents)
    except OSError:
        return False


def _is_readable(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _secrets(config: Config) -> list[Secret]:
    sections = [getattr(config, one.name) for one in dataclasses.fields(config)]
    values = [
        getattr(section, one.name)
        for section in sections if dataclasses.is_dataclass(section)
        for one in dataclasses.fields(section)
    ]  # fmt: skip
    found = [each for value in values for each in (value if isinstance(value, tuple) else (value,))]
    return [each for each in found if isinstance(each, Secret)]
