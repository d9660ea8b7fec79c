"""Whether other users of a host can read the secrets in its configuration."""

from __future__ import annotations

import dataclasses
import stat

from plotfarm.base.config.sections import Config
from plotfarm.base.secret import Secret


def is_exposed(config: Config) -> bool:
    """Tell whether the file holds a secret itself, not only where it is to be found, and all users may read it."""
    try:
        readable = bool(config.path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
    return readable and any(secret.is_literal for secret in _secrets(config))


def _secrets(config: Config) -> list[Secret]:
    sections = [getattr(config, one.name) for one in dataclasses.fields(config)]
    values = [
        getattr(section, one.name)
        for section in sections if dataclasses.is_dataclass(section)
        for one in dataclasses.fields(section)
    ]  # fmt: skip
    found = [each for value in values for each in (value if isinstance(value, tuple) else (value,))]
    return [each for each in found if isinstance(each, Secret)]
