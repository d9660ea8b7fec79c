"""What a disk and smartctl say of its health: failing, hot or worn, each by its own signs.

The exit status counts by itself: it still says "failing" where a line of the answer cannot be understood. Heat is the
one thing that makes smartctl say FAILED of a disk that is not failing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from plotfarm.base.text import one_line
from plotfarm.drives.health import Assessment
from plotfarm.drives.smart.said import MOST_ATTRIBUTES, Facts, Said, section, sequence, text, whole

_FAILING, _BELOW_THRESHOLD = 8, 16  # exit status: the disk says FAILED; a pre-fail attribute is below its threshold
_TEMPERATURES = (190, 194)
_NVME_HOT = 2  # bit of the critical warning; all others mean that it is failing
_SCSI_WARNING = 0x0B  # additional sense code of all warnings
_SCSI_HOT = (0x01, 0x0A, 0x0C)  # its qualifiers: specified, high critical and high operating temperature exceeded
_SCSI_STATUS = re.compile(r"^SMART Health Status: {1,8}(.{1,120})", re.MULTILINE)
_BY_ATTRIBUTES = "This result is based on an Attribute check"  # the disk itself gave no verdict
_FAILED = re.compile(r"self-assessment test result: FAILED!")
_UNKNOWN = re.compile(r"^SMART overall-health self-assessment test result: UNKNOWN", re.MULTILINE)
_LONGEST = 100
_HOT = "hot"


@dataclass(frozen=True)
class Opinion:
    """What is to be said of a disk by its own word."""

    assessment: Assessment
    says_hot: bool
    worn: str  # as in Health


@dataclass(frozen=True)
class _Below:
    """An attribute that is, or once was, below the maker's threshold."""

    number: int
    name: str
    is_now: bool
    is_prefail: bool  # it foretells a failure; the others tell of use, or of heat

    @property
    def is_heat(self) -> bool:
        return self.number in _TEMPERATURES


def opinion(said: Said) -> Opinion:
    """Return what an answer says of the disk's health."""
    below = list(_below_threshold(said.facts))
    warning = _scsi_warning(said)
    critical = _critical_warning(said.facts)
    heat_now = any(one.is_heat and one.is_now for one in below)
    foretold = any(one.is_now and one.is_prefail and not one.is_heat for one in below)
    is_hot = heat_now or warning == _HOT or bool(critical & _NVME_HOT)

    is_heat_alone = heat_now and not foretold and _BY_ATTRIBUTES in said.prose
    is_only_warned = bool(warning) or critical == _NVME_HOT or is_heat_alone
    failed = (
        (not is_only_warned and _says_failed(said))
        or bool(critical & ~_NVME_HOT)
        or foretold
        or (said.could_read and said.has(_BELOW_THRESHOLD) and not heat_now)
    )
    worn = [*_worn_attributes(below), *_worn_nvme(said.facts)]
    if warning not in ("", _HOT):
        worn.append(warning)
    return Opinion(_assessment(said, failed, is_only_warned), is_hot, ", ".join(worn)[:_LONGEST])


def says_unknown(said: Said) -> bool:
    """Tell whether smartctl could ask the disk, and got no verdict."""
    return _UNKNOWN.search(said.prose) is not None


def _assessment(said: Said, failed: bool, is_only_warned: bool) -> Assessment:
    if failed:
        return Assessment.FAILED
    # A disk that only warns says besides that it has not failed.
    return Assessment.PASSED if is_only_warned or _passed(said.facts) else Assessment.NOT_SAID


def _says_failed(said: Said) -> bool:
    """Tell whether the disk said FAILED by one of the ways in which that reaches us; the others may be broken."""
    passed = _passed(said.facts)
    if passed is False or (said.could_read and said.has(_FAILING)):
        return True
    return passed is None and _FAILED.search(said.prose) is not None


def _passed(facts: Facts) -> bool | None:
    passed = section(facts, "smart_status").get("passed")
    return passed if isinstance(passed, bool) else None


def _critical_warning(facts: Facts) -> int:
    logged = whole(section(facts, "nvme_smart_health_information_log"), "critical_warning")
    return logged if logged is not None else whole(section(facts, "smart_status", "nvme"), "value") or 0


def _below_threshold(facts: Facts) -> Iterator[_Below]:
    for attribute in sequence(section(facts, "ata_smart_attributes"), "table")[:MOST_ATTRIBUTES]:
        if isinstance(attribute, dict) and (when := text(attribute, "when_failed")):
            yield _Below(
                number=whole(attribute, "id") or 0,
                name=one_line(text(attribute, "name")[:_LONGEST])[:_LONGEST] or "an attribute without a name",
                is_now=when == "now",
                is_prefail=section(attribute, "flags").get("prefailure") is True,
            )


def _worn_attributes(below: list[_Below]) -> list[str]:
    """Return the names of what is used up, and of what once foretold a failure. Heat that is over is nothing."""
    return [one.name for one in below if not one.is_heat and one.is_now != one.is_prefail]


def _worn_nvme(facts: Facts) -> list[str]:
    used = whole(section(facts, "nvme_smart_health_information_log"), "percentage_used")
    return [f"{used}% of its life used"] if used is not None and used >= 100 else []


def _scsi_warning(said: Said) -> str:
    """Return what a SAS disk warns of: _HOT, or its words; "" if it does not warn, or says that it is failing."""
    scsi = section(said.facts, "smart_status", "scsi")
    code, qualifier = whole(scsi, "asc"), whole(scsi, "ascq")
    if code is not None:
        if code != _SCSI_WARNING:
            return ""
        words = one_line(text(scsi, "ie_string")[:_LONGEST])[:_LONGEST] or "a warning"
        return _HOT if qualifier in _SCSI_HOT else words
    found = _SCSI_STATUS.search(said.prose)
    words = one_line(found[1]).strip() if found else ""
    if not words.startswith("WARNING"):
        return ""
    is_heat = "temperature" in words.lower() and "exceeded" in words.lower() and " low " not in words
    return _HOT if is_heat else words[:_LONGEST]
