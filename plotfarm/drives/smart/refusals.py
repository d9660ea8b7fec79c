"""Why smartctl gave no SMART data, in words for the owner, with what to do about it."""

from __future__ import annotations

import re

from plotfarm.base.text import one_line
from plotfarm.drives.smart.said import CANNOT_READ, Said, section, text, whole

_LONGEST = 120
_ASLEEP = re.compile(r"^Device is in .+ mode, exit\(\d+\)", re.MULTILINE)
_HEADING = re.compile(r"smartctl \S+ .*|Copyright .*|=== .* ===|Use smartctl -h .*|Please specify device type .*|")
_VOLUME = re.compile(r"^SMART support is:\s+Unavailable|^Current Drive Temperature:\s+0 C$", re.MULTILINE)
_DISABLED = re.compile(r"^SMART support is:\s+Disabled", re.MULTILINE)

# What smartctl or sudo says -> what that means for the owner; {0} is what stands in the pattern's brackets.
_REFUSALS = (
    (r"^sudo: (?!unable to resolve)", "no permission: {permission}"),
    (r"is not allowed to execute|is not in the sudoers file|failed: Permission denied", "no permission: {permission}"),
    (
        r"please try adding '-d ([^']{1,80})'",
        "it is behind a RAID card: put a line such as '{disk} {0}' into [smart] device_types",
    ),
    (
        r"Unknown USB bridge (\[[^]]{0,80}\])",
        "smartctl does not know its USB bridge {0}: try a line such as '{disk} sat' (or sntjmicron, usbjmicron, ...) "
        "in [smart] device_types",
    ),
    (
        r"Unable to detect device type",
        "smartctl cannot tell what it is: a virtual disk has no SMART data, others need a line such as '{disk} sat' "
        "in [smart] device_types",
    ),
    (r"Unknown device type '([^']{0,80})'", "smartctl does not know the type '{0}' that [smart] device_types gives it"),
    (r"failed: No such (?:device|file)", "there is no {disk}"),
    (r"UNRECOGNIZED OPTION: json", "smartctl is older than 7.0, which cannot answer in JSON: install a newer one"),
    (r"^Smartctl open device: .* failed: (.{1,120})", "it cannot be opened: {0}"),
)


def is_asleep(said: Said) -> bool:
    """Tell whether the disk was left asleep, as `-n standby` asks."""
    return said.has(CANNOT_READ) and _ASLEEP.search(said.prose) is not None


def refusal(said: Said, disk: str, permission: str) -> str:
    """Return why smartctl could not read the disk, "" if it could. `permission`: what would give permission."""
    if said.could_read:
        return ""
    for pattern, words in _REFUSALS:
        if found := re.search(pattern, said.prose, re.MULTILINE):
            return one_line(words.format(*found.groups(), disk=disk, permission=permission))
    last = _last_words(said)
    return f"smartctl says: {last}" if last else f"smartctl ended with status {said.status} and said nothing"


def no_data(said: Said, disk: str) -> str:
    """Return why there is no SMART data although smartctl could read the disk."""
    if _is_volume(said):
        return (
            "it is a virtual disk, or a volume of a RAID card; a line such as "
            f"'{disk} megaraid,0' in [smart] device_types may lead to a disk behind it"
        )
    if section(said.facts, "smart_support").get("enabled") is False or _DISABLED.search(said.prose):
        return f"it is switched off: smartctl -s on {disk}"
    last = _last_words(said)
    if last and not said.facts:
        return f"smartctl did not answer in JSON, which it does since version 7.0: {last}"
    if last:
        return f"there is none in what smartctl says: {last}"
    return "there is none in what smartctl says" if said.facts else "smartctl said nothing"


def _is_volume(said: Said) -> bool:
    if text(section(said.facts, "device"), "protocol") == "SCSI":
        if section(said.facts, "smart_support").get("available") is False:
            return True
        if whole(section(said.facts, "temperature"), "current") == 0:
            return True
    return _VOLUME.search(said.prose) is not None


def _last_words(said: Said) -> str:
    """Return the last line that says something, made fit to be shown."""
    for line in reversed(said.prose.splitlines()):
        if line.strip() and not _HEADING.fullmatch(line.strip()):
            words = one_line(line.strip()[: _LONGEST + 1])
            return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."
    return ""
