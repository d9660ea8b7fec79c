"""Fixtures that several files of integration tests ask for."""

from tests.integration.held_disk import disk, plain
from tests.integration.played_nas import scene

__all__ = ["disk", "plain", "scene"]
