"""Waiting for an answer without neglecting whoever waits for this process."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Meanwhile:
    """What is done again and again while something is waited for: `do`, every `seconds`. It must not raise."""

    seconds: float
    do: Callable[[], None]


def wait_readable(descriptor: int, until: float, meanwhile: Meanwhile | None) -> bool:
    """Wait until a descriptor is readable; False if it is not until then (time.monotonic)."""
    while True:
        left = max(0.0, until - time.monotonic())
        step = left if meanwhile is None else min(left, meanwhile.seconds)
        if select.select([descriptor], [], [], step)[0]:
            return True
        if meanwhile is not None:
            meanwhile.do()
        if time.monotonic() >= until:
            return False
