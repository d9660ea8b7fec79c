"""Finding and reading `plot_manager_config`: a Config, or all of its mistakes at once."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from plotfarm.base.config import custody, rules, structure, values
from plotfarm.base.config.sections import Config
from plotfarm.base.config.structure import Value
from plotfarm.base.errors import ConfigurationError

ENVIRONMENT = "PLOT_MANAGER_CONFIG"
FILE_NAME = "plot_manager_config"
SYSTEM_PATH = Path("/etc/plot_manager") / FILE_NAME
CHECKOUT = Path(os.path.realpath(__file__)).parents[3]

# Paths that may be relative: they start at the checkout.
_ANCHORED = {"paths": ("logs", "state", "locks"), "testing": ("plot_directory",)}

Values = Mapping[str, Mapping[str, Value]]  # section -> key -> its text
Keys = Mapping[str, Field[object]]  # of one section


class RefusedValue(NamedTuple):
    """A value that cannot be read, or breaks a rule."""

    section: str
    field: str  # as it is named in sections.py
    key: str  # as it is named in the file
    value: Value
    refusal: rules.Refusal


def places(explicit: str | None, environment: Mapping[str, str]) -> list[tuple[Path, str]]:
    """Return where a configuration is looked for, in order, each with where that place comes from.

    A place that somebody named is the only one: a typing mistake must not lead to another configuration.
    """
    if explicit:
        return [(Path(explicit).expanduser(), "--config")]
    if environment.get(ENVIRONMENT):
        return [(Path(environment[ENVIRONMENT]).expanduser(), f"${ENVIRONMENT}")]
    return [(SYSTEM_PATH, "this host"), (CHECKOUT / FILE_NAME, "beside the scripts")]


def first_existing(candidates: Sequence[tuple[Path, str]]) -> Path:
    """Return the first place where something lies; ConfigurationError names all of them if there is none."""
    for path, origin in candidates:
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise ConfigurationError(f"cannot look at {path} ({origin}): {error.strerror}") from None
        return path
    raise ConfigurationError(
        f"no configuration found: copy {FILE_NAME} of the distribution to one of these places, "
        "or name yours with --config. Looked at:",
        [f"{path} ({origin})" for path, origin in candidates],
    )


def find_config(explicit: str | None) -> Path:
    """Return the first of --config, $PLOT_MANAGER_CONFIG, /etc/plot_manager, beside the scripts."""
    try:
        return first_existing(places(explicit, os.environ))
    except (RuntimeError, ValueError) as error:  # ~ of an unknown user, or a NUL in the name
        raise ConfigurationError(f"this cannot be the path of a configuration: {error}") from None


def load(path: Path, demands: Sequence[str] = ()) -> Config:
    """Read the configuration at `path`; ConfigurationError lists all of its mistakes.

    `demands` names what must not be empty, as `section.field`: "plotter.plot_directories".
    """
    absolute = Path(os.path.abspath(path))
    text = read_text(absolute)
    return from_text(text, absolute, demands, kernel_ports(), custody.mistakes(absolute))


def read_text(path: Path) -> str:
    """Return the text of a configuration (UTF-8, a byte order mark is dropped)."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{path} is not UTF-8 text: look at line {line}, and save the file as UTF-8") from None
    except PermissionError:
        raise ConfigurationError(
            f"{path} may not be read by this user: run as its owner, or give this user the right to read it"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None


def kernel_ports() -> rules.KernelPorts:
    """Return the ports that the kernel keeps for outgoing connections. Source: ip(7), /proc/sys/net/ipv4."""
    settings = Path("/proc/sys/net/ipv4")
    try:
        low, high = (settings / "ip_local_port_range").read_text().split()
        reserved = (settings / "ip_local_reserved_ports").read_text().strip()
    except (OSError, ValueError):
        return rules.KernelPorts()  # not known: a port that is taken is noticed when it is opened
    spans = [span.partition("-")[::2] for span in reserved.split(",") if span]
    return rules.KernelPorts(int(low), int(high), tuple(range(int(a), int(b or a) + 1) for a, b in spans))


def from_text(
    text: str,
    path: Path,
    demands: Sequence[str] = (),
    kernel: rules.KernelPorts | None = None,
    beside: Sequence[str] = (),
) -> Config:
    """Make a Config of the text of a file; ConfigurationError lists all mistakes.

    `beside` are those that do not stand in its text.
    """
    known = schema()
    found = structure.parse(text, known, {key for keys in known.values() for key in keys})
    config, refused = _typed(found.values, path, known)
    wrong = {(one.section, one.field) for one in refused}
    refused += _against_rules(config, found.values, kernel or rules.KernelPorts(), wrong)
    refused += _missing(config, found.values, demands, wrong)
    if beside or refused or found.mistakes or _has_unknown(found.values, known):
        from plotfarm.base.config.mistakes import in_words  # only here: files seldom have any

        lines = [*beside, *in_words(known, found, refused)]
        raise ConfigurationError(f"{path} has {len(lines)} mistake{'s' if len(lines) > 1 else ''}:", lines)
    return config


@functools.cache
def schema() -> dict[str, dict[str, Field[object]]]:
    """Return section -> key as it stands in the file -> field of sections.py."""
    return {
        section.name: {ini_key(field.name): field for field in fields(getattr(Config, section.name))}
        for section in fields(Config)
        if section.name != "path"
    }


def ini_key(field_name: str) -> str:
    """Return the key of a field: sizes carry their unit in the value, not in the key."""
    return field_name.removesuffix("_bytes")


def _typed(texts: Values, path: Path, schema: Mapping[str, Keys]) -> tuple[Config, list[RefusedValue]]:
    """Read every known key; what cannot be read keeps its default and is a mistake."""
    config = Config(path)
    refused: list[RefusedValue] = []
    sections: dict[str, Any] = {}
    for section, known in schema.items():
        taken: dict[str, object] = {}
        for key, value in texts.get(section, {}).items():
            if key not in known:
                continue
            field = known[key]
            try:
                taken[field.name] = values.read(str(field.type), field.name, value.text, field.metadata)
            except ValueError as error:
                refused.append(RefusedValue(section, field.name, key, value, rules.Refusal(str(error))))
        anchored = _ANCHORED.get(section, ())
        if taken or anchored:
            whole = replace(getattr(config, section), **taken)
            sections[section] = replace(whole, **{name: CHECKOUT / getattr(whole, name) for name in anchored})
    return replace(config, **sections), refused


def _against_rules(
    config: Config, texts: Values, kernel: rules.KernelPorts, wrong: set[tuple[str, str]]
) -> Iterator[RefusedValue]:
    for section, field, refusal in rules.refusals(config, kernel, wrong):
        value = getattr(getattr(config, section), field)
        default = f"{value.start}-{value.stop - 1}" if isinstance(value, range) else str(value)
        key = ini_key(field)
        yield RefusedValue(section, field, key, texts.get(section, {}).get(key, Value(default, 0)), refusal)


def _missing(
    config: Config, texts: Values, demands: Sequence[str], wrong: set[tuple[str, str]]
) -> Iterator[RefusedValue]:
    refusal = rules.Refusal("this script needs a value here, it must not be empty")
    for demand in demands:
        section, _, field = demand.partition(".")
        if (section, field) not in wrong and not getattr(getattr(config, section), field):
            key = ini_key(field)
            yield RefusedValue(section, field, key, texts.get(section, {}).get(key, Value("", 0)), refusal)


def _has_unknown(texts: Values, known: Mapping[str, Keys]) -> bool:
    return any(section not in known or not keys.keys() <= known[section].keys() for section, keys in texts.items())
