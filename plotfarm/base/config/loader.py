"""Finding and reading `plot_manager_config`: a Config, or all of its mistakes at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, fields, replace
from pathlib import Path

from plotfarm.base.config import custody, rules, structure, values
from plotfarm.base.config.discretion import Schema
from plotfarm.base.config.mistakes import MistakeWords
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
# Section, field as it is named in sections.py, and the line that says what is wrong.
_Mistake = tuple[str, str, str]


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
    words = MistakeWords(known)
    config, mistakes = _typed(found.values, path, known, words)
    wrong = {(section, field) for section, field, _ in mistakes}
    mistakes += _against_rules(config, found.values, kernel or rules.KernelPorts(), wrong, words)
    mistakes += _missing(config, found.values, demands, wrong, words)
    lines = [*beside, *words.of_structure(found), *words.of_unknown(found), *(line for _, _, line in mistakes)]
    if lines:
        raise ConfigurationError(f"{path} has {len(lines)} mistake{'s' if len(lines) > 1 else ''}:", lines)
    return config


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


def _typed(texts: Values, path: Path, schema: Schema, words: MistakeWords) -> tuple[Config, list[_Mistake]]:
    """Read every known key; what cannot be read keeps its default and is a mistake."""
    config = Config(path)
    mistakes: list[_Mistake] = []
    for section, known in schema.items():
        taken: dict[str, object] = {}
        for key, value in texts.get(section, {}).items():
            if key not in known:
                continue
            field = known[key]
            try:
                taken[field.name] = values.read(str(field.type), field.name, value.text, field.metadata)
            except ValueError as error:
                mistakes.append((section, field.name, words.of_value(section, key, value, str(error))))
        whole = replace(getattr(config, section), **taken)
        anchors = {name: CHECKOUT / getattr(whole, name) for name in _ANCHORED.get(section, ())}
        config = replace(config, **{section: replace(whole, **anchors)})
    return config, mistakes


def _against_rules(
    config: Config, texts: Values, kernel: rules.KernelPorts, wrong: set[tuple[str, str]], words: MistakeWords
) -> Iterator[_Mistake]:
    for section, field, refusal in rules.refusals(config, kernel, wrong):
        value = getattr(getattr(config, section), field)
        default = f"{value.start}-{value.stop - 1}" if isinstance(value, range) else str(value)
        key = ini_key(field)
        text = texts.get(section, {}).get(key, Value(default, 0))
        yield section, field, words.of_refusal(section, key, text, refusal)


def _missing(
    config: Config, texts: Values, demands: Sequence[str], wrong: set[tuple[str, str]], words: MistakeWords
) -> Iterator[_Mistake]:
    for demand in demands:
        section, _, field = demand.partition(".")
        if (section, field) not in wrong and not getattr(getattr(config, section), field):
            value = texts.get(section, {}).get(ini_key(field), Value("", 0))
            allowed = "this script needs a value here, it must not be empty"
            yield section, field, words.of_value(section, ini_key(field), value, allowed)
