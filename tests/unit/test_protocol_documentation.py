"""docs/protocol.md says what the code does: every message, field, bound and limit."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from plotfarm.transfer import messages
from testbed.plots import CHECKOUT


def load_tables() -> ModuleType:
    specification = importlib.util.spec_from_file_location("protocol_tables", CHECKOUT / "docs" / "protocol_tables.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    before = list(sys.path)
    specification.loader.exec_module(module)
    sys.path[:] = before
    return module


TABLES = load_tables()
DOCUMENT = (CHECKOUT / "docs" / "protocol.md").read_text()
KINDS = messages.kinds()


@pytest.mark.parametrize("name", KINDS)
def test_every_message_has_its_section_with_every_field(name: str) -> None:
    _, heading, rest = DOCUMENT.partition(f"\n### `{name}`\n")
    assert heading, f"docs/protocol.md has no section for {name}: run docs/protocol_tables.py"
    section = rest.partition("\n### ")[0]
    for field, bound in messages.bounds(KINDS[name]).items():
        assert f"| `{field}` | {bound.describe()} |" in section


def test_every_message_has_a_direction() -> None:
    assert set(TABLES.directions()) == set(KINDS)


def test_the_tables_are_those_of_the_code() -> None:
    assert TABLES.written(DOCUMENT) == DOCUMENT, "run docs/protocol_tables.py"
