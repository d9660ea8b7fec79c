"""Secrets of the configuration: passwords, tokens, addresses that hold one. They never show by accident."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from plotfarm.base.condition import Severity
from plotfarm.base.config import custody
from plotfarm.base.errors import PlotfarmError

_FROM_ENVIRONMENT, _FROM_FILE = "env:", "file:"


@dataclass(frozen=True)
class Secret:
    """A secret as it stands in the configuration: itself, `env:NAME` or `file:/path`.

    Its text shows neither in `repr` nor in `str`; `reveal()` is the one way to it.
    """

    _text: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self._text)

    @property
    def is_literal(self) -> bool:
        """Whether the configuration holds the secret itself."""
        return bool(self._text) and not self._text.startswith((_FROM_ENVIRONMENT, _FROM_FILE))

    @property
    def file(self) -> Path | None:
        """The file that holds the secret; None if it stands elsewhere."""
        if not self._text.startswith(_FROM_FILE):
            return None
        return Path(self._text.removeprefix(_FROM_FILE)).expanduser()

    @property
    def fingerprint(self) -> str:
        """8 hexadecimal digits that tell this entry from others; the secret itself is not looked up for it."""
        from hashlib import blake2b

        return blake2b(self._text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()

    def reveal(self) -> str:
        """Return the secret; PlotfarmError says which variable or file does not give it."""
        if self._text.startswith(_FROM_ENVIRONMENT):
            name = self._text.removeprefix(_FROM_ENVIRONMENT)
            if not os.environ.get(name):
                raise PlotfarmError(
                    f"the environment variable {name} does not hold the secret: set it, also in the crontab"
                )
            return os.environ[name]
        path = self.file
        if path is not None:
            if weaknesses := custody.mistakes(path, "it holds a secret"):
                raise PlotfarmError(f"the secret in {path} is not used: {weaknesses[0]}")
            try:
                return path.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
                raise PlotfarmError(f"cannot read the secret in {path}: {reason}") from None
        return self._text


@dataclass(frozen=True)
class SecretUrl(Secret):
    """A URL that holds a secret, and how serious the messages are that go there."""

    severities: frozenset[Severity] = frozenset(Severity)
