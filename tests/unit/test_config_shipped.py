"""The plot_manager_config that ships: complete, explained, and equal to the defaults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plotfarm.base.config import loader, structure

SHIPPED = loader.CHECKOUT / "plot_manager_config"


def test_it_says_the_defaults() -> None:
    assert loader.load(SHIPPED) == loader.from_text("", SHIPPED)


def test_it_has_every_section_and_every_key() -> None:
    found = structure.parse(SHIPPED.read_text())
    assert found.mistakes == []
    assert {name: set(keys) for name, keys in found.values.items()} == {
        name: set(keys) for name, keys in loader.schema().items()
    }


@pytest.mark.parametrize("section", list(loader.schema()))
def test_every_key_is_explained_above_it(section: str) -> None:
    text = re.split(rf"(?m)^\[{section}\]$", SHIPPED.read_text())[1].partition("\n[")[0]
    for key in loader.schema()[section]:
        above = re.split(rf"(?m)^{key} =", text)[0]
        # Its own name, as `key:` or in a list of keys that are explained together.
        assert re.search(rf"(?m)^# (?:\w+(?:, | and ))*{key}(?:(?:, | and )\w+)*: ", above), key


def test_every_choice_is_named_in_a_comment() -> None:
    comments = "\n".join(line for line in SHIPPED.read_text().splitlines() if line.startswith("#"))
    for keys in loader.schema().values():
        for field in keys.values():
            for choice in field.metadata.get("choices", ()):
                assert re.search(rf"\b{choice}\b", comments), choice


def test_it_fits_on_a_terminal() -> None:
    assert max(len(line) for line in SHIPPED.read_text().splitlines()) <= 118


def test_its_examples_are_valid(tmp_path: Path) -> None:
    """Each `#   key = value` in a comment could be used as it stands."""
    section, examples = "", 0
    for line in SHIPPED.read_text().splitlines():
        if line.startswith("["):
            section = line
        match = re.match(r"#   ((\w+) = .*)", line)
        if match and section:
            loader.from_text(f"{section}\n{match[1]}\n", tmp_path)
            examples += 1
    assert examples >= 7
