"""Farms as the reports know them, made of values: 44 drives with one hot, one failing, one missing; and others."""

from __future__ import annotations

from dataclasses import replace

from plotfarm.base.condition import AlertKind, Condition, Severity
from plotfarm.drives.health import Health
from plotfarm.drives.model import Drive, Verdict
from plotfarm.drives.reasons import Reason, Why
from plotfarm.reports.facts import DriveFacts, FarmFacts, Unknown

NOW = 1_795_485_346.0
TIB = 2**40
K32 = 108_836_000_000
SIZE = 12_000_138_625_024
MINIMUM_FREE = 2 * 2**30


def place(number):
    side, column = ("front", number // 6) if number < 24 else ("rear", (number - 24) // 3)
    enclosure = 0 if number < 36 else 1
    column = column if number < 36 else (number - 36) // 4
    side = side if number < 36 else "front"
    return f"/mnt/enclosure{enclosure}/{side}/column{column}/drive{number}"


def device(number):
    letters = "bcdefghijklmnopqrstuvwxyz"
    return f"/dev/sd{letters[number]}1" if number < 25 else f"/dev/sda{chr(ord('a') + number - 25)}1"


def drive(number):
    return Drive(place(number), device(number), f"uuid:{number:04}", 2049 + 16 * number, "xfs")


def health(number, **changes):
    celsius = 24 + number * 7 % 11
    return Health(
        **{
            "disk": device(number).removesuffix("1"), "time": NOW - 5, "last_read": NOW - 5,
            "serial": f"ZHZ{number * 7919 % 100000:05}", "model": "ST12000NM0007-2A1101", "assessment": "PASS",
            "celsius": celsius, "highest_celsius": celsius + 12, "reallocated": 0, "pending": 0, "uncorrectable": 0,
            "crc_errors": 0, **changes,
        }
    )  # fmt: skip


def drive_facts(number, plots, kind=("v1", 32), **changes):
    free = SIZE - plots * K32
    room = max(0, (free - MINIMUM_FREE) // K32)
    why = Why(Reason.HAS_ROOM if room else Reason.FULL)
    verdict = Verdict(drive(number), why, free, free - MINIMUM_FREE, room, SIZE)
    facts = DriveFacts(verdict, health(number), {kind: plots} if plots else {}, plots * K32)
    return replace(facts, **changes)


def missing(number):
    gone = replace(drive(number), device_number=0)
    return DriveFacts(Verdict(gone, Why(Reason.NOT_MOUNTED)), health(number, time=NOW - 7200, last_read=NOW - 7200))


def condition(kind, number, severity=Severity.CRITICAL, **facts):
    known = health(number)
    about = drive(number)
    return Condition(
        AlertKind(kind), about.identity, severity,
        {"drive": about.name, "mountpoint": about.mountpoint, "device": about.device, "serial": known.serial,
         "model": known.model, **facts},
    )  # fmt: skip


HOT = condition("hot", 9, Severity.WARNING, celsius=54, highest_celsius=57, warning_celsius=50, critical_celsius=60)
FAILING = condition("failing", 14, assessment="FAIL", reallocated=1208, pending=24, uncorrectable=0, crc_errors=0)
MISSING = condition("missing", 20, plots=110)


def farm(**changes):
    """44 drives of 12 TB: 26 full, drive22 is the plot drive, the others are empty."""
    plots = [110 if number < 22 else 41 if number == 22 else 0 for number in range(44)]
    drives = [drive_facts(number, count) for number, count in enumerate(plots)]
    drives[3] = replace(drives[3], counts={("v1", 32): 90, ("bladebit", 32): 20})
    drives[9] = replace(drives[9], health=health(9, celsius=54, highest_celsius=57))
    failing = replace(drives[14].verdict, why=Why(Reason.FAILING, "SMART says FAILED"))
    drives[14] = replace(
        drives[14], verdict=failing, health=health(14, assessment="FAIL", reallocated=1208, pending=24)
    )
    drives[20] = missing(20)
    offlined = replace(drives[31].verdict, why=Why(Reason.OFFLINED))
    drives[31] = replace(drives[31], verdict=offlined)
    facts = FarmFacts(
        server="chianas01", now=NOW, drives=tuple(drives), current=drives[22], plot_bytes=K32, plot_label="k32",
        chia_plots=2349, chia_bytes=2349 * K32, made_plots=79, made_bytes=79 * K32, made_since=NOW - 90 * 86400,
        standing=(MISSING, FAILING, HOT),
    )  # fmt: skip
    return replace(facts, **changes)


def empty_farm():
    return farm(drives=(), current=None, chia_plots=Unknown("there is no /root/.chia/mainnet/log/debug.log"),
                chia_bytes=Unknown("there is no /root/.chia/mainnet/log/debug.log"), made_plots=0, made_bytes=0,
                made_since=None, standing=())  # fmt: skip


def one_drive(**changes):
    only = drive_facts(0, 3)
    return replace(farm(drives=(only,), current=only, standing=()), **changes)


def ten_drives():
    """A farm that fits into a picture: the fourth drive is hot, the fifth is missing, the sixth is being filled."""
    drives = [drive_facts(number, count) for number, count in enumerate((110, 110, 108, 110, 110, 41, 0, 0, 0, 0))]
    drives[2] = replace(drives[2], counts={("v1", 32): 90, ("bladebit", 32): 18})
    drives[3] = replace(drives[3], health=health(3, celsius=54, highest_celsius=57))
    drives[4] = missing(4)
    drives[8] = replace(drives[8], verdict=replace(drives[8].verdict, why=Why(Reason.OFFLINED)))
    drives[9] = replace(drives[9], health=health(9, asleep=True, last_read=NOW - 3 * 3600))
    hot = condition("hot", 3, Severity.WARNING, celsius=54, highest_celsius=57, warning_celsius=50, critical_celsius=60)
    standing = (condition("missing", 4, plots=110), hot)
    return farm(drives=tuple(drives), current=drives[5], chia_plots=479, chia_bytes=479 * K32, standing=standing)
