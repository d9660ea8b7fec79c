"""What smartctl says about disks that exist only here, in the format of smartctl 7."""

from __future__ import annotations

_HEADING = """smartctl 7.3 2022-02-28 r5338 [x86_64-linux-6.1.0-18-amd64] (local build)
Copyright (C) 2002-22, Bruce Allen, Christian Franke, www.smartmontools.org

"""
_CHECK_RESULT = {True: "PASSED", False: "FAILED!"}


def sata(
    serial: str = "ZL2TEST1",
    model: str = "TESTDISK TD18000NM",
    celsius: str = "34 (Min/Max 21/47)",
    passed: bool = True,
    reallocated: str = "0",
    pending: str = "0",
    uncorrectable: str = "0",
    crc_errors: str = "0",
    when_failed: tuple[str, str] = ("-", "-"),  # of attribute 5, pre-fail, and of attribute 190, old age
) -> str:
    """Return what smartctl says about a SATA disk, directly, at a SAS HBA or behind a USB bridge."""
    return f"""{_HEADING}=== START OF INFORMATION SECTION ===
Model Family:     Test Disks
Device Model:     {model}
Serial Number:    {serial}
LU WWN Device Id: 5 000c50 0a1b2c3d4
Firmware Version: TN01
User Capacity:    18,000,207,937,536 bytes [18.0 TB]
Sector Sizes:     512 bytes logical, 4096 bytes physical
Rotation Rate:    7200 rpm
Form Factor:      3.5 inches
Device is:        In smartctl database 7.3/5319
ATA Version is:   ACS-4 (minor revision not indicated)
SATA Version is:  SATA 3.3, 6.0 Gb/s (current: 6.0 Gb/s)
Local Time is:    Tue Nov 24 01:40:00 2026 UTC
SMART support is: Available - device has SMART capability.
SMART support is: Enabled

=== START OF READ SMART DATA SECTION ===
SMART overall-health self-assessment test result: {_CHECK_RESULT[passed]}

General SMART Values:
Offline data collection status:  (0x82)\tOffline data collection activity
\t\t\t\t\twas completed without error.
Self-test execution status:      (   0)\tThe previous self-test routine completed
\t\t\t\t\twithout error or no self-test has ever
\t\t\t\t\tbeen run.
Short self-test routine
recommended polling time: \t (   1) minutes.

SMART Attributes Data Structure revision number: 10
Vendor Specific SMART Attributes with Thresholds:
ID# ATTRIBUTE_NAME          FLAG     VALUE WORST THRESH TYPE      UPDATED  WHEN_FAILED RAW_VALUE
  1 Raw_Read_Error_Rate     0x000f   083   064   044    Pre-fail  Always       -       195238112
  5 Reallocated_Sector_Ct   0x0033   100   100   010    Pre-fail  Always   {when_failed[0]:^11} {reallocated}
  9 Power_On_Hours          0x0032   085   085   000    Old_age   Always       -       13201 (87 141 0)
190 Airflow_Temperature_Cel 0x0022   066   050   040    Old_age   Always   {when_failed[1]:^11} {celsius}
194 Temperature_Celsius     0x0022   034   050   000    Old_age   Always       -       {celsius}
197 Current_Pending_Sector  0x0012   100   100   000    Old_age   Always       -       {pending}
198 Offline_Uncorrectable   0x0010   100   100   000    Old_age   Offline      -       {uncorrectable}
199 UDMA_CRC_Error_Count    0x003e   200   200   000    Old_age   Always       -       {crc_errors}

SMART Error Log Version: 1
No Errors Logged

SMART Self-test log structure revision number 1
Num  Test_Description    Status                  Remaining  LifeTime(hours)  LBA_of_first_error
# 1  Short offline       Completed without error       00%     13100         -
"""


def sas(
    serial: str = "ZC1TESTS0000C923",
    model: str = "TD12000NM004",
    celsius: int = 41,
    health: str = "OK",
    grown_defects: int = 0,
    uncorrected: tuple[int, int, int] = (0, 0, 0),
) -> str:
    """Return what smartctl says about a SAS disk."""
    read, write, verify = uncorrected
    return f"""{_HEADING}=== START OF INFORMATION SECTION ===
Vendor:               TESTDISK
Product:              {model}
Revision:             E004
Compliance:           SPC-5
User Capacity:        12,000,138,625,024 bytes [12.0 TB]
Logical block size:   512 bytes
Physical block size:  4096 bytes
LU is fully provisioned
Rotation Rate:        7200 rpm
Form Factor:          3.5 inches
Logical Unit id:      0x5000c500a1b2c3d7
Serial number:        {serial}
Device type:          disk
Transport protocol:   SAS (SPL-4)
Local Time is:        Tue Nov 24 01:40:00 2026 UTC
SMART support is:     Available - device has SMART capability.
SMART support is:     Enabled
Temperature Warning:  Enabled

=== START OF READ SMART DATA SECTION ===
SMART Health Status: {health}

Current Drive Temperature:     {celsius} C
Drive Trip Temperature:        60 C

Accumulated power on time, hours:minutes 20311:17
Manufactured in week 08 of year 2021
Specified cycle count over device lifetime:  50000
Accumulated start-stop cycles:  71
Specified load-unload count over device lifetime:  600000
Accumulated load-unload cycles:  2213
Elements in grown defect list: {grown_defects}

Error counter log:
           Errors Corrected by           Total   Correction     Gigabytes    Total
               ECC          rereads/    errors   algorithm      processed    uncorrected
           fast | delayed   rewrites  corrected  invocations   [10^9 bytes]  errors
read:          0       13         0        13         13      98213.441         {read:>3}
write:         0        0         0         0          0      41872.003         {write:>3}
verify:        0        0         0         0          0          0.000         {verify:>3}

Non-medium error count:        4

SMART Self-test log
Num  Test              Status                 segment  LifeTime  LBA_first_err [SK ASC ASQ]
     Description                              number   (hours)
# 1  Background short  Completed                   -   20009                 - [-   -    -]
"""


def nvme(
    serial: str = "NV9TEST7",
    model: str = "TESTDISK NV4 4TB",
    celsius: int = 47,
    critical_warning: int = 0,
    media_errors: int = 0,
) -> str:
    """Return what smartctl says about an NVMe disk, in a slot or behind a USB bridge."""
    warning = "\n- NVM subsystem reliability has been degraded" if critical_warning else ""
    return f"""{_HEADING}=== START OF INFORMATION SECTION ===
Model Number:                       {model}
Serial Number:                      {serial}
Firmware Version:                   3.1
PCI Vendor/Subsystem ID:            0x1234
IEEE OUI Identifier:                0x00a075
Total NVM Capacity:                 4,000,787,030,016 [4.00 TB]
Unallocated NVM Capacity:           0
Controller ID:                      0
NVMe Version:                       1.4
Number of Namespaces:               1
Namespace 1 Size/Capacity:          4,000,787,030,016 [4.00 TB]
Namespace 1 Formatted LBA Size:     512
Local Time is:                      Tue Nov 24 01:40:00 2026 UTC
Optional Admin Commands (0x0017):   Security Format Frmw_DL Self_Test

=== START OF SMART DATA SECTION ===
SMART overall-health self-assessment test result: {_CHECK_RESULT[not critical_warning]}{warning}

SMART/Health Information (NVMe Log 0x02)
Critical Warning:                   0x{critical_warning:02x}
Temperature:                        {celsius} Celsius
Available Spare:                    100%
Available Spare Threshold:          5%
Percentage Used:                    2%
Data Units Read:                    12,345,678 [6.32 TB]
Data Units Written:                 23,456,789 [12.0 TB]
Host Read Commands:                 98,765,432
Host Write Commands:                87,654,321
Controller Busy Time:               1,234
Power Cycles:                       56
Power On Hours:                     7,890
Unsafe Shutdowns:                   12
Media and Data Integrity Errors:    {media_errors}
Error Information Log Entries:      3
Warning  Comp. Temperature Time:    0
Critical Comp. Temperature Time:    0
Temperature Sensor 1:               {celsius} Celsius

Error Information (NVMe Log 0x01, 16 of 64 entries)
No Errors Logged

"""


def volume(serial: str = "00a1b2c3d4e5f600") -> str:
    """Return what smartctl says about a volume of a RAID card: 0 degrees, and nothing about its health."""
    return f"""{_HEADING}=== START OF INFORMATION SECTION ===
Vendor:               TESTRAID
Product:              Virtual Disk
Revision:             5.14
User Capacity:        959,119,884,288 bytes [959 GB]
Logical block size:   512 bytes
Serial number:        {serial}
Device type:          disk
SMART support is:     Unavailable - device lacks SMART capability.

=== START OF READ SMART DATA SECTION ===
Current Drive Temperature:     0 C
Drive Trip Temperature:        0 C

Error Counter logging not supported

Device does not support Self Test logging
"""


def asleep() -> str:
    """Return what `smartctl -n standby` says about a disk in standby."""
    return f"{_HEADING}Device is in STANDBY mode, exit(2)\n"


def unknown_bridge(disk: str) -> str:
    """Return what smartctl says about a disk behind a USB bridge that is not in its database."""
    return f"""{_HEADING}{disk}: Unknown USB bridge [0x1234:0x5678 (0x204)]
Please specify device type with the -d option.

Use smartctl -h to get a usage summary

"""


def unknown_type(disk: str) -> str:
    """Return what smartctl says about a virtual disk."""
    return f"""{_HEADING}{disk}: Unable to detect device type
Please specify device type with the -d option.

Use smartctl -h to get a usage summary

"""


def not_opened(disk: str, why: str) -> str:
    """Return what smartctl says about a disk that it cannot open: `why` is "No such device" or the like."""
    return f"{_HEADING}Smartctl open device: {disk} failed: {why}\n"
