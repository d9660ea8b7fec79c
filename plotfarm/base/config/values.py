"""From the text of one INI value to a typed value.

There is one reader for each type that a field of sections.py may have. A reader raises ValueError with the
words that follow the mistake: what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from plotfarm.base.condition import Severity
from plotfarm.base.secret import Secret, SecretUrl
from plotfarm.base.units import parse_bytes

# A reader gets the text and the metadata of the field.
Reader = Callable[[str, Mapping[str, object]], object]

_BOOLEANS = {
    "1": True,
    "yes": True,
    "true": True,
    "on": True,
    "0": False,
    "no": False,
    "false": False,
    "off": False,
}
_SEVERITIES = {severity.value: severity for severity in Severity}
_LOWEST_PORT, _HIGHEST_PORT = 1024, 65535
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def read(type_name: str, key: str, text: str, metadata: Mapping[str, object]) -> object:
    """Read the value of one key; ValueError says what is allowed.

    `type_name` is the annotation as it stands in sections.py. Keys of sizes in bytes take units (`2 GiB`).
    """
    if _CONTROL.search(text):
        raise ValueError("no control characters are allowed")
    if "\n" in text and not type_name.startswith("tuple"):
        raise ValueError("one line is allowed (a line that starts with a space continues the one above it)")
    if key.endswith("_bytes"):
        return _read_size(text)
    return READERS[type_name](text, metadata)


def _read_bool(text: str, metadata: Mapping[str, object]) -> bool:
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise ValueError("True or False is allowed (also yes/no, on/off, 1/0)") from None


def _read_int(text: str, metadata: Mapping[str, object]) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise ValueError(f"a whole number{_at_least(metadata)} is allowed")
    number = int(text)
    _refuse_less(number, "a whole number", metadata)
    return number


def _read_float(text: str, metadata: Mapping[str, object]) -> float:
    if not re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", text):
        raise ValueError(f"a number{_at_least(metadata)} is allowed, such as 10 or 2.5")
    number = float(text)
    _refuse_less(number, "a number", metadata)
    return number


def _at_least(metadata: Mapping[str, object]) -> str:
    return f" of at least {metadata['minimum']}" if "minimum" in metadata else ""


def _refuse_less(number: float, what: str, metadata: Mapping[str, object]) -> None:
    minimum = metadata.get("minimum")
    if isinstance(minimum, int | float) and number < minimum:
        raise ValueError(f"{what}{_at_least(metadata)} is allowed")


def _read_size(text: str) -> int:
    try:
        return parse_bytes(text)
    except (ValueError, OverflowError):
        raise ValueError("a size is allowed, such as 2 GiB, 500 MB or a number of bytes") from None


def _read_text(text: str, metadata: Mapping[str, object]) -> str:
    choices = metadata.get("choices")
    if not isinstance(choices, tuple):
        return text
    for choice in choices:
        if text.lower() == str(choice).lower():
            return str(choice)
    raise ValueError(f"one of {', '.join(choices)} is allowed")


def _read_path(text: str, metadata: Mapping[str, object]) -> Path:
    if not text:
        raise ValueError("a path is allowed, it must not be empty")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError("a user of this host is allowed after ~, and this one is not known") from None


def _read_texts(text: str, metadata: Mapping[str, object]) -> tuple[str, ...]:
    items = (item.strip() for item in re.split(r"[,\n]", text))
    return tuple(dict.fromkeys(item for item in items if item))


def _read_paths(text: str, metadata: Mapping[str, object]) -> tuple[Path, ...]:
    return tuple(_read_path(item, metadata) for item in _read_texts(text, metadata))


def _read_words(text: str, metadata: Mapping[str, object]) -> tuple[str, ...]:
    import shlex

    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        message = str(error).lower()
        raise ValueError(f"words as in a shell are allowed, with every quotation closed ({message})") from None


def _read_lines(text: str, metadata: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.split("\n") if line.strip())


def _read_strings(text: str, metadata: Mapping[str, object]) -> tuple[str, ...]:
    if metadata.get("words"):
        return _read_words(text, metadata)
    if metadata.get("lines"):
        return _read_lines(text, metadata)
    if metadata.get("quoted"):
        return _read_quoted(text)
    items = _read_texts(text, metadata)
    return tuple(_read_text(item, metadata) for item in items) if "choices" in metadata else items


def _read_quoted(text: str) -> tuple[str, ...]:
    """Return the items of a list in which a comma between quotation marks divides nothing: "Doe, Jo" <jo@e.org>."""
    items = (item.strip() for item in re.findall(r'(?:"[^"\n]*"|[^,\n])+', text))
    return tuple(dict.fromkeys(item for item in items if item))


def _read_secret(text: str, metadata: Mapping[str, object]) -> Secret:
    return Secret(text)


def _read_secrets(text: str, metadata: Mapping[str, object]) -> tuple[Secret, ...]:
    return tuple(Secret(line) for line in text.split() if line)


def _read_secret_urls(text: str, metadata: Mapping[str, object]) -> tuple[SecretUrl, ...]:
    """Read URLs, before each the severities that go there if not all do: `warning, critical ntfy://host/alarm`."""
    found: dict[str, frozenset[Severity]] = {}
    severities: set[Severity] = set()
    for word in text.split():
        name = word.rstrip(",:").lower()
        if name in _SEVERITIES:
            severities.add(_SEVERITIES[name])
            continue
        found[word] = found.get(word, frozenset()) | (severities or frozenset(Severity))
        severities = set()
    if severities:
        raise ValueError("the URL of a service is allowed, and needed, behind info, warning or critical")
    return tuple(SecretUrl(url, wanted) for url, wanted in found.items())


def _read_ports(text: str, metadata: Mapping[str, object]) -> range:
    match = re.fullmatch(r"([0-9]{1,5})(?:\s*-\s*([0-9]{1,5}))?", text)
    if match:
        low, high = int(match[1]), int(match[2] or match[1])
        if _LOWEST_PORT <= low <= high <= _HIGHEST_PORT:
            return range(low, high + 1)
    raise ValueError(
        f"a range such as 4040-4139 or one port is allowed, from {_LOWEST_PORT} to {_HIGHEST_PORT}, the lower one first"
    )


# Types by their names: asking typing for the real ones would cost each run its import.
READERS: dict[str, Reader] = {
    "bool": _read_bool,
    "int": _read_int,
    "float": _read_float,
    "str": _read_text,
    "Path": _read_path,
    "range": _read_ports,
    "tuple[str, ...]": _read_strings,
    "tuple[Path, ...]": _read_paths,
    "Secret": _read_secret,
    "tuple[Secret, ...]": _read_secrets,
    "tuple[SecretUrl, ...]": _read_secret_urls,
}
