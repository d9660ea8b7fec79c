"""Finding and reading `plot_manager_config`: a Config, or all of its mistakes at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, fields, replace
from pathlib import Path

from plotfarm.base.config import rules, structure, values
from plotfarm.base.config.sections import Config
from plotfarm.base.errors import ConfigurationError

ENVIRONMENT = "PLOT_MANAGER_CONFIG"
FILE_NAME = "plot_manager_config"
SYSTEM_PATH = Path("/etc/plot_manager") / FILE_NAME
CHECKOUT = Path(os.path.realpath(__file__)).parents[3]

# Paths that may be relative: they start at the checkout.
_ANCHORED = {"paths": ("logs", "state", "locks"), "testing": ("plot_directory",)}

Texts = Mapping[str, Mapping[str, str]]  # section -> key -> text
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
    return from_text(read_text(absolute), absolute, demands, kernel_ports())


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


def from_text(text: str, path: Path, demands: Sequence[str] = (), kernel: rules.KernelPorts | None = None) -> Config:
    """Make a Config of the text of a file; ConfigurationError lists all mistakes."""
    texts, lines = structure.parse(text, may_show=_open_sections())
    lines += _unknown(texts)
    config, mistakes = _typed(texts, path)
    wrong = {(section, field) for section, field, _ in mistakes}
    mistakes += _against_rules(config, texts, kernel or rules.KernelPorts(), wrong)
    mistakes += _missing(config, texts, demands, wrong)
    lines += [line for _, _, line in mistakes]
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


def _open_sections() -> set[str]:
    """Return the sections that no secret belongs in: only their lines are repeated in a message."""
    return {name for name, keys in schema().items() if not any("Secret" in str(key.type) for key in keys.values())}


def ini_key(field_name: str) -> str:
    """Return the key of a field: sizes carry their unit in the value, not in the key."""
    return field_name.removesuffix("_bytes")


def _typed(texts: Texts, path: Path) -> tuple[Config, list[_Mistake]]:
    """Read every known key; what cannot be read keeps its default and is a mistake."""
    config = Config(path)
    mistakes: list[_Mistake] = []
    for section, known in schema().items():
        taken: dict[str, object] = {}
        for key, text in texts.get(section, {}).items():
            if key not in known:
                continue
            field = known[key]
            try:
                taken[field.name] = values.read(str(field.type), field.name, text, field.metadata)
            except ValueError as error:
                mistakes.append((section, field.name, _line(section, key, text, str(error))))
        whole = replace(getattr(config, section), **taken)
        anchors = {name: CHECKOUT / getattr(whole, name) for name in _ANCHORED.get(section, ())}
        config = replace(config, **{section: replace(whole, **anchors)})
    return config, mistakes


def _against_rules(
    config: Config, texts: Texts, kernel: rules.KernelPorts, wrong: set[tuple[str, str]]
) -> Iterator[_Mistake]:
    for section, field, allowed in rules.refusals(config, kernel, wrong):
        value = getattr(getattr(config, section), field)
        default = f"{value.start}-{value.stop - 1}" if isinstance(value, range) else str(value)
        key = ini_key(field)
        text = texts.get(section, {}).get(key, default)
        yield section, field, _line(section, key, text, allowed)


def _missing(config: Config, texts: Texts, demands: Sequence[str], wrong: set[tuple[str, str]]) -> Iterator[_Mistake]:
    for demand in demands:
        section, _, field = demand.partition(".")
        if (section, field) not in wrong and not getattr(getattr(config, section), field):
            text = texts.get(section, {}).get(ini_key(field), "")
            allowed = "this script needs a value here, it must not be empty"
            yield section, field, _line(section, ini_key(field), text, allowed)


def _unknown(texts: Texts) -> Iterator[str]:
    known = schema()
    for section, keys in texts.items():
        if section not in known:
            yield f"[{structure.shown(section)}]: unknown section{_nearest(section, known)}"
            continue
        for key, text in keys.items():
            if key not in known[section]:
                yield _line(
                    section,
                    key,
                    text,
                    f"unknown key{_other_home(key, known) or _nearest(key, known[section])}",
                )


def _other_home(key: str, known: Mapping[str, Mapping[str, object]]) -> str:
    homes = [f"[{section}]" for section, keys in known.items() if key in keys]
    return f", it belongs in {homes[0]}" if homes else ""


def _nearest(name: str, known: Mapping[str, object]) -> str:
    import difflib

    near = difflib.get_close_matches(name.lower()[:80], known, n=1)
    return f", did you mean {near[0]}?" if near else f", known are {', '.join(known)}"


def _line(section: str, key: str, text: str, allowed: str) -> str:
    value = f"= {_may_be_shown(section, key, text)}" if text else "is empty"
    # A secret that is left without its key may look like one.
    name = structure.shown(key) if section in _open_sections() or re.fullmatch(r"[A-Za-z_]+", key) else "(not shown)"
    return f"[{section}] {name} {value}: {allowed}"


def _may_be_shown(section: str, key: str, text: str) -> str:
    """Return a value for a message; what is a secret, or could be one under a misspelled key, is left out."""
    field = schema().get(section, {}).get(key)
    is_harmless = field is not None and "Secret" not in str(field.type)
    return structure.shown(text) if is_harmless or section in _open_sections() else "(not shown)"
