"""Why smartctl gave no SMART data, in words for the owner, with what to do about it."""

from __future__ import annotations

import re

from plotfarm.base.text import one_line
from plotfarm.drives.smart.calls import Answer

_OPEN_FAILED = 1 | 2  # exit status: the command line did not parse, or the disk could not be opened or identified
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
        r"please try adding '-d ([^']+)'",
        "it is behind a RAID card: put a line such as '{disk} {0}' into [smart] device_types",
    ),
    (
        r"Unknown USB bridge (\[[^]]*\])",
        "smartctl does not know its USB bridge {0}: try a line such as '{disk} sat' (or sntjmicron, usbjmicron, ...) "
        "in [smart] device_types",
    ),
    (
        r"Unable to detect device type",
        "smartctl cannot tell what it is: a virtual disk has no SMART data, others need a line such as '{disk} sat' "
        "in [smart] device_types",
    ),
    (r"Unknown device type '([^']*)'", "smartctl does not know the type '{0}' that [smart] device_types gives it"),
    (r"failed: No such (?:device|file)", "there is no {disk}"),
    (r"^Smartctl open device: .* failed: (.{1,120})", "it cannot be opened: {0}"),
)


def is_asleep(answer: Answer) -> bool:
    """Tell whether the disk was left asleep, as `-n standby` asks."""
    return bool(answer.status & _OPEN_FAILED and _ASLEEP.search(answer.text))


def refusal(answer: Answer, disk: str, permission: str) -> str:
    """Return why smartctl could not read the disk, "" if it could. `permission`: what would give permission."""
    if not answer.status & _OPEN_FAILED:
        return ""
    for pattern, words in _REFUSALS:
        if found := re.search(pattern, answer.text, re.MULTILINE):
            return one_line(words.format(*found.groups(), disk=disk, permission=permission))
    said = _last_words(answer)
    return f"smartctl says: {said}" if said else f"smartctl ended with status {answer.status} and said nothing"


def no_data(answer: Answer, disk: str) -> str:
    """Return why there is no SMART data although smartctl could read the disk."""
    if _VOLUME.search(answer.text):
        return (
            "it is a virtual disk, or a volume of a RAID card; a line such as "
            f"'{disk} megaraid,0' in [smart] device_types may lead to a disk behind it"
        )
    if _DISABLED.search(answer.text):
        return f"it is switched off: smartctl -s on {disk}"
    said = _last_words(answer)
    return f"there is none in what smartctl says: {said}" if said else "smartctl said nothing"


def _last_words(answer: Answer) -> str:
    """Return the last line that says something, made fit to be shown."""
    lines = [line.strip() for line in answer.text.splitlines()]
    said = [line for line in lines if not _HEADING.fullmatch(line)]
    text = one_line(said[-1][: _LONGEST + 1]) if said else ""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
