"""What `smartctl --json=o --all` says about disks that exist only here, in the format of smartctl 7.3."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

_HEADING = (
    "smartctl 7.3 2022-02-28 r5338 [x86_64-linux-6.1.0-18-amd64] (local build)",
    "Copyright (C) 2002-22, Bruce Allen, Christian Franke, www.smartmontools.org",
    "",
)
_CHECK_RESULT = {True: "PASSED", False: "FAILED!", None: "UNKNOWN!"}
_WHEN_FAILED = {"-": "", "FAILING_NOW": "now", "In_the_past": "past"}
Facts = Mapping[str, object]


def answer(facts: Facts, printed: Sequence[str] = (), status: int = 0, message: str = "") -> str:
    """Return a whole answer: facts, the lines that are printed for people, and the exit status that it reports."""
    smartctl: dict[str, object] = {
        "version": [7, 3],
        "svn_revision": "5338",
        "argv": ["smartctl", "--json=o", "--all", "/dev/sdx"],
        "output": [*_HEADING, *printed],
    }
    if message:
        smartctl["messages"] = [{"string": message, "severity": "error"}]
    smartctl["exit_status"] = status
    return json.dumps({"json_format_version": [1, 0], "smartctl": smartctl, **facts}, indent=2) + "\n"


def attribute(
    number: int, name: str, raw: str, when_failed: str = "-", prefail: bool = False, value: int | None = None
) -> dict[str, object]:
    """Return an ATA attribute; `raw` as smartctl prints it, `value` its 48 bits if they differ."""
    digits = raw.split()[0].lstrip("-") if raw.split() else ""
    return {
        "id": number,
        "name": name,
        "value": 100,
        "worst": 100,
        "thresh": 10,
        "when_failed": _WHEN_FAILED[when_failed],
        "flags": {"value": 51 if prefail else 50, "prefailure": prefail, "updated_online": True},
        "raw": {"value": value if value is not None else int(digits) if digits.isdigit() else 0, "string": raw},
    }


def sata(
    serial: str = "ZL2TEST1",
    model: str = "TESTDISK TD18000NM",
    celsius: str = "34 (Min/Max 21/47)",
    passed: bool | None = True,
    reallocated: str = "0",
    pending: str = "0",
    uncorrectable: str = "0",
    crc_errors: str = "0",
    when_failed: tuple[str, str] = ("-", "-"),  # of attribute 5, pre-fail, and of attribute 190, old age
    more: Sequence[Facts] = (),  # attributes
    status: int = 0,
) -> str:
    """Return what smartctl says about a SATA disk, directly, at a SAS HBA or behind a USB bridge."""
    table = [
        attribute(1, "Raw_Read_Error_Rate", "195238112", prefail=True),
        attribute(4, "Start_Stop_Count", "212"),
        attribute(5, "Reallocated_Sector_Ct", reallocated, when_failed[0], prefail=True),
        attribute(9, "Power_On_Hours", "13201 (87 141 0)"),
        attribute(190, "Airflow_Temperature_Cel", celsius, when_failed[1]),
        attribute(194, "Temperature_Celsius", celsius),
        attribute(197, "Current_Pending_Sector", pending),
        attribute(198, "Offline_Uncorrectable", uncorrectable),
        attribute(199, "UDMA_CRC_Error_Count", crc_errors),
        *more,
    ]
    first = celsius.split()[0]
    facts = {
        **_identity("/dev/sdx", "sat", "ATA"),
        "model_family": "Test Disks",
        "model_name": model,
        "serial_number": serial,
        "rotation_rate": 7200,
        "smart_support": {"available": True, "enabled": True},
        **({} if passed is None else {"smart_status": {"passed": passed}}),
        "ata_smart_attributes": {"revision": 10, "table": table},
        "power_on_time": {"hours": 13201},
        "power_cycle_count": 190,
        "temperature": {"current": int(first)} if first.lstrip("-").isdigit() else {},
    }
    return answer(facts, _sata_lines(serial, model, passed), status)


def _sata_lines(serial: str, model: str, passed: bool | None) -> list[str]:
    return [
        "=== START OF INFORMATION SECTION ===",
        f"Device Model:     {model}",
        f"Serial Number:    {serial}",
        "SMART support is: Available - device has SMART capability.",
        "SMART support is: Enabled",
        "",
        "=== START OF READ SMART DATA SECTION ===",
        f"SMART overall-health self-assessment test result: {_CHECK_RESULT[passed]}",
        *(["SMART Status, Attributes and Thresholds cannot be read."] if passed is None else []),
        "",
    ]


def sas(
    serial: str = "ZC1TESTS0000C923",
    model: str = "TD12000NM004",
    celsius: int = 41,
    health: str = "OK",
    sense: tuple[int, int] = (0, 0),  # additional sense code and qualifier, where health is not OK
    grown_defects: int = 0,
    uncorrected: tuple[int, int, int] = (0, 0, 0),
    is_old: bool = False,  # the JSON of smartctl 7.0 has other names and no start-stop cycles
    status: int = 0,
) -> str:
    """Return what smartctl says about a SAS disk."""
    names: Facts = {"scsi_vendor": "TESTDISK", "scsi_product": model, "scsi_model_name": f"TESTDISK {model}"}
    if is_old:
        names = {"vendor": "TESTDISK", "product": model, "model_name": f"TESTDISK {model}"}
    verdict: dict[str, object] = {"passed": health == "OK"}
    if sense != (0, 0):
        verdict["scsi"] = {"asc": sense[0], "ascq": sense[1], "ie_string": health}
    cycles = {"specified_cycle_count_over_device_lifetime": 50000, "accumulated_start_stop_cycles": 71}
    log = {
        way: {"errors_corrected_by_eccfast": 0, "total_uncorrected_errors": count}
        for way, count in zip(("read", "write", "verify"), uncorrected, strict=True)
    }
    facts = {
        **_identity("/dev/sdx", "scsi", "SCSI"),
        **names,
        "serial_number": serial,
        "device_type": {"scsi_value": 0, "name": "disk"},
        "smart_support": {"available": True, "enabled": True},
        "smart_status": verdict,
        "temperature": {"current": celsius, "drive_trip": 60},
        "power_on_time": {"hours": 20311, "minutes": 17},
        **({} if is_old else {"scsi_start_stop_cycle_counter": cycles}),
        "scsi_grown_defect_list": grown_defects,
        "scsi_error_counter_log": log,
    }
    return answer(facts, _sas_lines(serial, model, celsius, health, sense, grown_defects, uncorrected), status)


def _sas_lines(
    serial: str,
    model: str,
    celsius: int,
    health: str,
    sense: tuple[int, int],
    defects: int,
    uncorrected: tuple[int, int, int],
) -> list[str]:
    read, write, verify = uncorrected
    asc = f" [asc={sense[0]:x}, ascq={sense[1]:x}]" if sense != (0, 0) else ""
    return f"""=== START OF INFORMATION SECTION ===
Vendor:               TESTDISK
Product:              {model}
Revision:             E004
Serial number:        {serial}
Device type:          disk
SMART support is:     Available - device has SMART capability.
SMART support is:     Enabled
Temperature Warning:  Enabled

=== START OF READ SMART DATA SECTION ===
SMART Health Status: {health}{asc}

Current Drive Temperature:     {celsius} C
Drive Trip Temperature:        60 C

Accumulated power on time, hours:minutes 20311:17
Manufactured in week 08 of year 2021
Specified cycle count over device lifetime:  50000
Accumulated start-stop cycles:  71
Elements in grown defect list: {defects}

Error counter log:
           Errors Corrected by           Total   Correction     Gigabytes    Total
               ECC          rereads/    errors   algorithm      processed    uncorrected
           fast | delayed   rewrites  corrected  invocations   [10^9 bytes]  errors
read:          0       13         0        13         13      98213.441         {read:>3}
write:         0        0         0         0          0      41872.003         {write:>3}
verify:        0        0         0         0          0          0.000         {verify:>3}

Non-medium error count:        4
""".splitlines()


def nvme(
    serial: str = "NV9TEST7",
    model: str = "TESTDISK NV4 4TB",
    celsius: int = 47,
    critical_warning: int = 0,
    media_errors: int = 0,
    percentage_used: int = 2,
    status: int = 0,
) -> str:
    """Return what smartctl says about an NVMe disk, in a slot or behind a USB bridge."""
    facts = {
        **_identity("/dev/nvme0", "nvme", "NVMe"),
        "model_name": model,
        "serial_number": serial,
        "firmware_version": "3.1",
        "smart_support": {"available": True, "enabled": True},
        "smart_status": {"passed": not critical_warning, "nvme": {"value": critical_warning}},
        "nvme_smart_health_information_log": {
            "critical_warning": critical_warning,
            "temperature": celsius,
            "available_spare": 100,
            "available_spare_threshold": 5,
            "percentage_used": percentage_used,
            "power_cycles": 56,
            "power_on_hours": 7890,
            "media_errors": media_errors,
        },
        "temperature": {"current": celsius},
        "power_cycle_count": 56,
        "power_on_time": {"hours": 7890},
    }
    verdict = f"SMART overall-health self-assessment test result: {_CHECK_RESULT[not critical_warning]}"
    return answer(facts, ["=== START OF SMART DATA SECTION ===", verdict, ""], status)


def volume(serial: str = "00a1b2c3d4e5f600") -> str:
    """Return what smartctl says about a volume of a RAID card: 0 degrees, and nothing about its health."""
    facts = {
        **_identity("/dev/sdx", "scsi", "SCSI"),
        "scsi_vendor": "TESTRAID",
        "scsi_product": "Virtual Disk",
        "scsi_model_name": "TESTRAID Virtual Disk",
        "serial_number": serial,
        "smart_support": {"available": False},
        "temperature": {"current": 0, "drive_trip": 0},
    }
    printed = [
        "SMART support is:     Unavailable - device lacks SMART capability.",
        "",
        "Current Drive Temperature: 0 C",
    ]
    return answer(facts, printed, 4)


def asleep(mode: str = "STANDBY") -> str:
    """Return what `smartctl -n standby` says about a disk in standby."""
    return _refused(f"Device is in {mode} mode, exit(2)", 2, **_identity("/dev/sdx", "sat", "ATA"))


def unknown_bridge(disk: str) -> str:
    """Return what smartctl says about a disk behind a USB bridge that is not in its database."""
    return _refused(f"{disk}: Unknown USB bridge [0x1234:0x5678 (0x204)]", 1)


def unknown_type(disk: str) -> str:
    """Return what smartctl says about a virtual disk."""
    return _refused(f"{disk}: Unable to detect device type", 1)


def not_opened(disk: str, why: str) -> str:
    """Return what smartctl says about a disk that it cannot open: `why` is "No such device" or the like."""
    return _refused(f"Smartctl open device: {disk} failed: {why}", 2)


def _refused(message: str, status: int, **facts: object) -> str:
    help_lines = ["Please specify device type with the -d option.", "", "Use smartctl -h to get a usage summary", ""]
    return answer(facts, [message, *(help_lines if status == 1 else [])], status, message)


def _identity(name: str, kind: str, protocol: str) -> dict[str, object]:
    return {"device": {"name": name, "info_name": name, "type": kind, "protocol": protocol}}
