"""What smartctl said about a disk, as pySMART understands it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plotfarm.base.text import one_line
from plotfarm.drives.health import Health
from plotfarm.drives.smart.calls import Answer
from plotfarm.drives.smart.refusals import is_asleep, no_data, refusal

if TYPE_CHECKING:
    from pySMART import Device  # type: ignore[import-untyped]

_FAILING = 8  # exit status: "DISK FAILING"
_CELSIUS = range(1, 121)  # virtual disks say 0
_TEMPERATURES = (194, 190)
_COUNTERS = (5, 197, 198, 199)  # reallocated, pending, uncorrectable, CRC errors, as all makers number them
_MOST = 2**63  # more than SQLite holds, and than any disk has sectors
_NVME = re.compile(r"^(NVMe Version:|SMART/Health Information \(NVMe)", re.MULTILINE)
_SAS_WARNING = re.compile(r"^SMART Health Status: WARNING", re.MULTILINE)
_LONGEST_NAME = 100


def health_from(answer: Answer, disk: str, now: float, permission_remedy: str = "") -> Health:
    """Return what one answer to `smartctl --all` says about a disk; `now` is Unix time."""
    if is_asleep(answer):
        return Health(disk, now, asleep=True)
    if problem := refusal(answer, disk, permission_remedy):
        return without(disk, now, problem)
    try:
        return _understood(answer, disk, now)
    except Exception as error:  # pySMART indexes and converts what it finds in the text, whatever that is
        said = one_line(str(error))[:_LONGEST_NAME]
        return without(disk, now, f"pySMART cannot understand what smartctl says ({type(error).__name__}: {said})")


def without(disk: str, now: float, why: str) -> Health:
    """Return the health of a disk that told nothing."""
    return Health(disk, now, problem=f"no SMART: {why}")


def _understood(answer: Answer, disk: str, now: float) -> Health:
    device = _device(answer, disk)
    named = Health(disk, now, serial=_name(device.serial), model=_name(device.model))
    celsius = _celsius(device)
    read = replace(
        _with_counters(named, device), celsius=celsius, highest_celsius=celsius,
        assessment=_assessment(device, answer),
    )  # fmt: skip
    if read == named:
        return replace(named, problem=f"no SMART: {no_data(answer, disk)}")
    return replace(read, last_read=now)


class _OneAnswer:
    """Stands for smartctl before pySMART: gives what was said once, and nothing to the questions it asks besides.

    Those find out what is known here already, or how long the disk has been running.
    """

    def __init__(self, answer: Answer) -> None:
        self._lines = answer.text.splitlines()

    def all(self, disk: str, interface: str | None = None) -> list[str]:
        return self._lines

    def generic_call(self, parameters: list[str], pass_options: bool = False) -> tuple[list[str], int]:
        return [], 1

    try_generic_call = generic_call


def _device(answer: Answer, disk: str) -> Device:
    from pySMART import Device  # takes 50 ms: only where something is read

    # To pySMART "sat" is the one that needs no further questions; it reads SAS drives by it too.
    return Device(disk, interface="nvme" if _NVME.search(answer.text) else "sat", smartctl=_OneAnswer(answer))


def _assessment(device: Device, answer: Answer) -> str:
    """Return PASS, WARN or FAIL; "" if the disk does not say.

    pySMART also fails a disk for an attribute that says only how much it was used, or how hot it is. That is a
    warning here, as long as the disk itself says PASSED. So is what a SAS disk calls one, heat for example.
    """
    if _SAS_WARNING.search(answer.text):
        return "WARN"
    if answer.status & _FAILING or getattr(device.if_attributes, "criticalWarning", None):
        return "FAIL"
    failing = [attribute for attribute in _attributes(device) if attribute.when_failed == "FAILING_NOW"]
    if device.assessment == "FAIL" and failing and all(attribute.type != "Pre-fail" for attribute in failing):
        return "WARN"
    return device.assessment or ""


def _celsius(device: Device) -> int | None:
    said = [_raw(device, number) for number in _TEMPERATURES] if _attributes(device) else [device.temperature]
    return next((celsius for celsius in said if celsius in _CELSIUS), None)


def _with_counters(health: Health, device: Device) -> Health:
    """Add what is counted; what SAS and NVMe disks count comes under the name of what is most like it."""
    if any(_attributes(device)):
        reallocated, pending, uncorrectable, crc_errors = (_count([_raw(device, number)]) for number in _COUNTERS)
        return replace(
            health, reallocated=reallocated, pending=pending, uncorrectable=uncorrectable, crc_errors=crc_errors
        )
    said = device.diagnostics
    if said is None:
        return replace(health, uncorrectable=_count([getattr(device.if_attributes, "integrityErrors", None)]))
    lost = _count([said.Uncorrected_Reads, said.Uncorrected_Writes, said.Uncorrected_Verifies])
    return replace(health, reallocated=_count([said.Reallocated_Sector_Ct]), uncorrectable=lost)


def _count(numbers: Iterable[int | None]) -> int | None:
    """Return the sum of what is known; None if nothing is, or if it cannot be true."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known and 0 <= sum(known) < _MOST else None


def _attributes(device: Device) -> list[Any]:
    return [attribute for attribute in device.attributes if attribute is not None]


def _raw(device: Device, number: int) -> int | None:
    """Return the raw value of an attribute: the first number in texts such as "10 (Average 12)"."""
    attribute = device.attributes[number]
    found = re.search(r"-?\d+", attribute.raw) if attribute is not None else None
    return int(found[0]) if found else None


def _name(text: str | None) -> str:
    return one_line(text or "").strip()[:_LONGEST_NAME]
