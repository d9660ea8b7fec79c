"""Writing values back to `plot_manager_config`: comments, order, owner and mode stay as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from plotfarm.base.config import loader, structure
from plotfarm.base.errors import ConfigurationError
from plotfarm.base.files import write_atomically
from plotfarm.base.locks import Lock

if TYPE_CHECKING:
    from configupdater import Section

Values = Mapping[tuple[str, str], str]  # (section, key) -> text

_TRAILING_COMMENT = re.compile(r"(?:^|\s+)#.*")


def write_values(path: Path, values: Values) -> None:
    """Set some values in the configuration at `path`; nothing is written if they are there already.

    Whole or not at all, and under a lock in the directory that the configuration itself names: two processes
    that write different keys lose nothing. A symlink stays one. ConfigurationError if the file has mistakes,
    would have them afterwards, or cannot be written.
    """
    lock = Lock(loader.load(path).paths.locks / "configuration.lock")
    try:
        lock.acquire(wait=True)
        with lock:
            before = loader.read_text(path)  # again: it may have changed before the lock was ours
            after = with_values(before, values)
            loader.from_text(after, path)
            if after != before:
                write_atomically(path, after)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to {path}: {error.strerror} ({error.filename}). The user who runs this "
            "needs to be able to write to that file, its directory and the lock directory"
        ) from None


def with_values(text: str, values: Values) -> str:
    """Return the text of a configuration with some values set, everything else unchanged.

    ConfigurationError if the result would not be read back as these values.
    """
    if _holds(text, values):
        return text
    # Only here: it takes longer to import than everything else in this room together.
    from configupdater import ConfigUpdater

    updater = ConfigUpdater()
    updater.read_string(text)
    for (section, key), value in values.items():
        _refuse(section, key, value)
        if not updater.has_section(section):
            updater.add_section(section)
        _set(updater[section], key, value)
    result = str(updater)
    if not _holds(result, values):
        names = ", ".join(f"[{section}] {key}" for section, key in values)
        raise ConfigurationError(f"cannot write {names} so that it is read back: a value holds ' #' or outer spaces")
    return result


def _refuse(section: str, key: str, value: str) -> None:
    if not value.isprintable():
        shown = structure.shown(value)
        raise ConfigurationError(f"cannot write [{section}] {key} = {shown}: printable text on one line is allowed")


def _holds(text: str, values: Values) -> bool:
    parser = structure.new_parser()
    parser.read_string(text)
    return all(parser.get(section, key, fallback=None) == value for (section, key), value in values.items())


def _set(section: Section, key: str, value: str) -> None:
    """Set one value; a comment behind the old one stays, a new key goes behind the last of its section."""
    options = section.option_blocks()
    old = next((option for option in options if option.raw_key.strip().lower() == key.lower()), None)
    if old is None:
        if options:
            options[-1].add_after.option(key, value)
        else:
            section.insert_at(0).option(key, value)
        return
    comment = _TRAILING_COMMENT.search((old.value or "").partition("\n")[0])
    kept = "  " + comment[0].strip() if comment else ""
    old.value = value + kept
