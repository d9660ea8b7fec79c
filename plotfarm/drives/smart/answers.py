"""What smartctl said about a disk, as the suite understands it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from plotfarm.base.text import one_line
from plotfarm.drives.health import Health
from plotfarm.drives.smart.calls import Answer
from plotfarm.drives.smart.gaps import with_gaps_filled
from plotfarm.drives.smart.refusals import is_asleep, no_data, refusal
from plotfarm.drives.smart.said import (
    MOST,
    MOST_ATTRIBUTES,
    Facts,
    Said,
    first_number,
    section,
    sequence,
    take_apart,
    text,
    whole,
)
from plotfarm.drives.smart.verdict import opinion, says_unknown

_CELSIUS = range(1, 121)  # virtual disks say 0
_TEMPERATURES = (194, 190)
_NO_NAME = "[No Information Found]"
_LONGEST_NAME = 100


def health_from(answer: Answer, disk: str, now: float, permission_remedy: str = "") -> Health:
    """Return what one answer to `smartctl --json=o --all` says about a disk; `now` is Unix time."""
    said = take_apart(answer)
    if is_asleep(said):
        return Health(disk, now, asleep=True)

    named = Health(disk, now, serial=_serial(said.facts), model=_model(said.facts))
    read = _read(named, said)
    if read != named or says_unknown(said):
        return replace(read, last_read=now)
    problem = refusal(said, disk, permission_remedy) or no_data(said, disk)
    return replace(named, problem=f"no SMART: {problem}")


def without(disk: str, now: float, why: str) -> Health:
    """Return the health of a disk that told nothing."""
    return Health(disk, now, problem=f"no SMART: {why}")


def _read(named: Health, said: Said) -> Health:
    """Add what an answer says besides the names. A failing disk is one even if nothing else can be read."""
    view = opinion(said)
    celsius = _celsius(said.facts)
    health = replace(
        named,
        assessment=view.assessment,
        says_hot=view.says_hot,
        worn=view.worn,
        celsius=celsius,
        highest_celsius=celsius,
        power_on_hours=_power_on_hours(said.facts),
    )
    match _protocol(said.facts):
        case "SCSI":
            return with_gaps_filled(_with_scsi_counters(health, said.facts), said.output)
        case "NVMe":
            log = section(said.facts, "nvme_smart_health_information_log")
            return replace(health, uncorrectable=whole(log, "media_errors"))
        case _:
            return _with_attributes(health, said.facts)


def _protocol(facts: Facts) -> str:
    return text(section(facts, "device"), "protocol")


# ---- Names ----


def _serial(facts: Facts) -> str:
    serial = text(facts, "serial_number")
    if _protocol(facts) == "SCSI" and len(parts := serial.split()) > 1 and serial.strip() != _NO_NAME:
        serial = parts[-1]  # of two parts the label carries the last
    return _name(serial)


def _model(facts: Facts) -> str:
    """Return the model by which a disk is sold; a SAS disk says its maker apart."""
    for prefix in ("scsi_", ""):
        maker, product = _name(text(facts, f"{prefix}vendor")), _name(text(facts, f"{prefix}product"))
        if product:
            return _name(f"{maker} {product}".strip())
    return _name(text(facts, "model_name")) or _name(text(facts, "scsi_model_name"))


def _name(said: str) -> str:
    name = one_line(said[: 2 * _LONGEST_NAME]).strip()[:_LONGEST_NAME]
    return "" if name == _NO_NAME else name


# ---- Numbers ----


@dataclass(frozen=True)
class _Attribute:
    """The raw value of an ATA attribute: as a number of 48 bits, and as its maker writes it."""

    raw: int | None
    words: str

    @property
    def number(self) -> int | None:
        """Return the first number in texts such as "10 (Average 12)"."""
        return first_number(self.words) if self.words else self.raw

    @property
    def count(self) -> int | None:
        """Return the same where it can be one."""
        number = self.number
        return number if number is not None and number >= 0 else None


_NONE = _Attribute(None, "")


def _attributes(facts: Facts) -> dict[int, _Attribute]:
    found: dict[int, _Attribute] = {}
    for line in sequence(section(facts, "ata_smart_attributes"), "table")[:MOST_ATTRIBUTES]:
        number = whole(line, "id") if isinstance(line, dict) else None
        if number is not None:
            raw = section(line, "raw")
            found[number] = _Attribute(whole(raw, "value"), text(raw, "string"))
    return found


def _with_attributes(health: Health, facts: Facts) -> Health:
    """Add what an ATA disk counts, numbered as all makers number it."""
    table = _attributes(facts)
    timeouts = table.get(188, _NONE).raw
    return replace(
        health,
        start_stop_count=table.get(4, _NONE).count,
        reallocated=table.get(5, _NONE).count,
        reported_uncorrectable=table.get(187, _NONE).count,
        command_timeouts=None if timeouts is None else timeouts & 0xFFFF,  # some makers put other counts above it
        pending=table.get(197, _NONE).count,
        uncorrectable=table.get(198, _NONE).count,
        crc_errors=table.get(199, _NONE).count,
    )


def _with_scsi_counters(health: Health, facts: Facts) -> Health:
    """Add what a SAS disk counts, under the name of what is most like it."""
    log = section(facts, "scsi_error_counter_log")
    lost = [whole(section(log, way), "total_uncorrected_errors") for way in ("read", "write", "verify")]
    cycles = section(facts, "scsi_start_stop_cycle_counter")
    return replace(
        health,
        reallocated=whole(facts, "scsi_grown_defect_list"),
        uncorrectable=_sum(lost),
        start_stop_count=whole(cycles, "accumulated_start_stop_cycles"),
    )


def _celsius(facts: Facts) -> int | None:
    """Return the temperature; the attributes count where smartctl did not understand them itself."""
    table = _attributes(facts)
    said = [whole(section(facts, "temperature"), "current")]
    said += [table.get(number, _NONE).number for number in _TEMPERATURES]
    return next((celsius for celsius in said if celsius in _CELSIUS), None)


def _power_on_hours(facts: Facts) -> int | None:
    hours = whole(section(facts, "power_on_time"), "hours")
    return hours if hours is not None else whole(section(facts, "nvme_smart_health_information_log"), "power_on_hours")


def _sum(numbers: Iterable[int | None]) -> int | None:
    """Return the sum of what is known; None if nothing is, or if it cannot be true."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known and sum(known) < MOST else None
