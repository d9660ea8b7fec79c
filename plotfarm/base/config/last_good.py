"""The last configuration that could be used, kept in the state directory: a broken one is told through it.

No secret is copied. What `env:NAME` and `file:/path` stand for is looked up when it is needed, as always; a secret that
stands in the configuration itself is read from there again, by a reader that minds no mistake. So it is found wherever
it still stands behind its key, also below a section header that lost its bracket, and one that was changed meanwhile
is the changed one. If the file is gone, the ways that need no such secret still work.
"""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from plotfarm.base.config import loader, structure
from plotfarm.base.config.sections import Config
from plotfarm.base.errors import ConfigurationError
from plotfarm.base.secret import Secret

_HEADER = re.compile(r"\[\s*([A-Za-z_]+)")
_ASSIGNED = re.compile(r"([A-Za-z_]+)\s*[=:]\s*(.*)")
_COMMENT = re.compile(r"(?:^|\s)#.*")
_Texts = Mapping[str, Mapping[str, str]]  # section -> key -> its text

_ABOUT = (
    "# The last configuration that could be used, without its secrets: written by the scripts, to tell of a broken one."
)


def keep(config: Config) -> None:
    """Keep a configuration that was just read; nothing happens if it is kept already, or cannot be.

    The copy has the time of the file, so that most runs do no more than compare the two.
    """
    copy = _copy_of(config.path, config.paths.state)
    with contextlib.suppress(OSError, ConfigurationError):
        changed = config.path.stat().st_mtime_ns
        with contextlib.suppress(FileNotFoundError):
            if copy.stat().st_mtime_ns == changed:
                return
        text = loader.read_text(config.path)
        loader.from_text(text, config.path)  # it may have been changed since it was read
        _write(copy, _without_secrets(_texts(text)), changed)


def find(candidates: Iterable[Path]) -> Config | None:
    """Return the last good one of the first of these configurations that has one, or None."""
    for path in candidates:
        absolute = Path(os.path.abspath(path))
        present = _present(absolute)
        for state in _state_directories(present):
            config = _read(absolute, state, present)
            if config is not None:
                return config
    return None


def _copy_of(path: Path, state: Path) -> Path:
    return state / f"last_good-{zlib.crc32(os.fsencode(path)):08x}.ini"


def _write(copy: Path, text: str, changed_nanoseconds: int) -> None:
    from plotfarm.base.files import write_atomically  # seldom needed

    copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(copy, text)
    os.utime(copy, ns=(changed_nanoseconds, changed_nanoseconds))


def _without_secrets(texts: _Texts) -> str:
    lines = [_ABOUT]
    for section, keys in texts.items():
        lines += ["", f"[{section}]"]
        lines += [
            f"{key} = {text}".replace("\n", "\n    ")
            for key, text in keys.items() if not _holds_secret(section, key, text)
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _holds_secret(section: str, key: str, text: str) -> bool:
    field = loader.schema()[section][key]
    return "Secret" in str(field.type) and any(Secret(word).is_literal for word in text.split())


def _texts(text: str) -> _Texts:
    known = loader.schema()
    found = structure.parse(text, known, {key for keys in known.values() for key in keys})
    return {section: {key: value.text for key, value in keys.items()} for section, keys in found.values.items()}


@dataclass(frozen=True)
class _Assignment:
    """A key and its value, as a reader finds them that minds no mistake."""

    section: str
    key: str
    value: str


def _present(path: Path) -> list[_Assignment]:
    """Return all that looks like a value in a file, whatever else is in it; nothing if it cannot be read."""
    try:
        lines = path.read_bytes().decode("utf-8-sig", "replace").split("\n")
    except OSError:
        return []
    found: list[_Assignment] = []
    section = ""
    for line in lines:
        header, assigned = _HEADER.match(line), _ASSIGNED.match(line)
        text = _COMMENT.sub("", line).strip()
        if header:
            section = header[1].lower()
        elif assigned:
            value = _COMMENT.sub("", assigned[2]).strip()
            found.append(_Assignment(section, assigned[1].lower(), value))
        elif text and line[0].isspace() and found:
            last = found.pop()
            found.append(_Assignment(last.section, last.key, f"{last.value}\n{text}".strip("\n")))
    return found


def _state_directories(present: Iterable[_Assignment]) -> list[Path]:
    """Return where the copy may be: what the file names, as far as that can be read, then the usual place."""
    named = [one.value for one in present if (one.section, one.key) == ("paths", "state") and one.value]
    found = []
    for text in [*named, "state"]:
        with contextlib.suppress(RuntimeError):  # ~ of an unknown user
            found.append(loader.CHECKOUT / Path(text).expanduser())
    return found


def _read(path: Path, state: Path, present: Iterable[_Assignment]) -> Config | None:
    try:
        text = _copy_of(path, state).read_text(encoding="utf-8")
        return loader.from_text(_with_secrets(_texts(text), list(present)), path)
    except (OSError, UnicodeError, ConfigurationError):
        return None


def _with_secrets(texts: _Texts, present: list[_Assignment]) -> str:
    whole = {section: dict(keys) for section, keys in texts.items()}
    for section, keys in loader.schema().items():
        for key, field in keys.items():
            if "Secret" in str(field.type) and key not in whole.get(section, {}):
                value = _value_of(section, key, present)
                if value:
                    whole.setdefault(section, {})[key] = value
    lines: list[str] = []
    for section, values in whole.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {value}".replace("\n", "\n    ") for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _value_of(section: str, key: str, present: list[_Assignment]) -> str:
    """Return what stands behind a key in its section, or else in any: its header may be what is broken."""
    same_key = [one for one in present if one.key == key and one.value]
    in_section = [one for one in same_key if one.section == section]
    found = in_section or same_key
    return found[0].value if found else ""
