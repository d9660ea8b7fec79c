"""What runs for as long as a `with` block lasts."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Service:
    """Something with `start` and `stop`, as a context manager."""

    def start(self) -> None:
        """Run from now on."""
        raise NotImplementedError

    def stop(self) -> None:
        """Run no more."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
