"""A state of affairs that somebody should know of: a hot drive, a missing drive, a disk that fills up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum


class Severity(StrEnum):
    """How serious a message is; each may have channels of its own."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """The higher, the more serious: 0 to 2. Kept in the outbox."""
        return list(Severity).index(self)


class Look(Enum):
    """What is looked at together, by one part of the program: only that raises its kinds, and resolves them."""

    PRESENCE = "which drives are gone or cannot be used"
    HEALTH = "how the disks are, by what they say and by how fast plots arrive"
    QUARANTINE = "which drives lost data"
    NO_DRIVE = "whether any drive can take a plot"
    PARTS = "which complete parts nobody publishes"
    FILLING = "which plot directories fill up"
    SYSTEM_DISK = "whether this host's own disks fill up"
    FARMED_PLOTS = "whether Chia farms what lies on the drives"
    FARMING = "whether the harvester farms"
    COIN_LOG = "whether coins can be seen in Chia's log"
    WALLET = "what Chia's wallet says of coins"
    STUCK_PLOTS = "which plots stay although they could go"
    NAS = "which NAS do not answer"
    WAITING_FOR_NAS = "which NAS plots wait for"
    MISMATCHES = "whether other bytes arrive than were sent"
    LOCAL_DIRECTORY = "whether plots are made on a drive that gets plots"
    JOB = "how a script ended"
    LOCKS = "which locks were waited for in vain"
    RUNS = "whether each script comes to its end"
    CONFIGURATION = "whether the configuration can be used"
    PACKAGES = "whether the scripts can start"
    MEMORY = "whether the state database can be used"
    PASSWORDS = "who can read the configuration"
    RECIPIENTS = "who refuses messages"

    @property
    def kinds(self) -> frozenset[AlertKind]:
        """All that it may find."""
        return frozenset(kind for kind in AlertKind if kind.look is self)


class AlertKind(StrEnum):
    """What there are alerts of, each with the one look that finds it; None: a notice, told once and never over.

    The values are kept in the database, and are the sections of `templates/alerts.ini`.
    """

    look: Look | None

    def __new__(cls, name: str, look: Look | None) -> AlertKind:
        """Make a member that is its name, and has a look."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.look = look
        return member

    HOT = "hot", Look.HEALTH
    FAILING = "failing", Look.HEALTH
    DAMAGED = "damaged", Look.HEALTH
    SECTORS = "sectors", Look.HEALTH
    UNSAID = "unsaid", Look.HEALTH
    NO_SMART = "no_smart", Look.HEALTH
    TAKEN_OFFLINE = "taken_offline", Look.HEALTH
    SLOW = "slow", Look.HEALTH
    QUARANTINED = "quarantined", Look.QUARANTINE
    MISSING = "missing", Look.PRESENCE
    NOT_ANSWERING = "not_answering", Look.PRESENCE
    WRONG_DRIVE = "wrong_drive", Look.PRESENCE
    READ_ONLY = "read_only", Look.PRESENCE
    IO_ERROR = "io_error", Look.PRESENCE
    NO_PERMISSION = "no_permission", Look.PRESENCE
    PROBE_BROKEN = "probe_broken", Look.PRESENCE
    NO_DRIVE = "no_drive", Look.NO_DRIVE
    PART_LEFT = "part_left", Look.PARTS
    FILLING = "filling", Look.FILLING
    SYSTEM_DISK = "system_disk", Look.SYSTEM_DISK
    CHIA_DIFFERENCE = "chia_difference", Look.FARMED_PLOTS
    CHIA_NOT_LISTED = "chia_not_listed", Look.FARMED_PLOTS
    CHIA_UNREADABLE = "chia_unreadable", Look.FARMED_PLOTS
    NOT_FARMING = "not_farming", Look.FARMING
    COIN_LOG = "coin_log", Look.COIN_LOG
    COIN_LOG_SILENT = "coin_log_silent", Look.COIN_LOG
    COIN_LOG_BROKEN = "coin_log_broken", Look.COIN_LOG
    COINS_NOT_NAMED = "coins_not_named", Look.COIN_LOG
    WALLET_UNREADABLE = "wallet_unreadable", Look.WALLET
    COINS_DISAGREE = "coins_disagree", Look.WALLET
    NOT_SENT = "not_sent", Look.STUCK_PLOTS
    NAS_UNAVAILABLE = "nas_unavailable", Look.NAS
    WAITS_FOR_NAS = "waits_for_nas", Look.WAITING_FOR_NAS
    MISMATCHES = "mismatches", Look.MISMATCHES
    LOCAL_DIRECTORY = "local_directory", Look.LOCAL_DIRECTORY
    JOB_FAILED = "job_failed", Look.JOB
    LOCK_HELD = "lock_held", Look.LOCKS
    SCRIPT_SILENT = "script_silent", Look.RUNS
    CONFIG_BROKEN = "config_broken", Look.CONFIGURATION
    CANNOT_START = "cannot_start", Look.PACKAGES
    MEMORY_UNUSABLE = "memory_unusable", Look.MEMORY
    CONFIG_READABLE = "config_readable", Look.PASSWORDS
    CHANNEL_REFUSES = "channel_refuses", Look.RECIPIENTS
    NOT_FARMED = "not_farmed", None


@dataclass(frozen=True)
class Condition:
    """Something that is so now. It is told when it begins and once more when it ends.

    Values only: the words for each kind are in `templates/alerts.ini`.
    """

    kind: AlertKind
    about: str  # what it is about, unique within its kind: a serial number, an identity, a path
    severity: Severity
    facts: Mapping[str, str | int | float | None] = field(default_factory=dict)  # what the words need
    patience_seconds: float = 0.0  # it has to stand for so long before it is told
    repeat_seconds: float = 0.0  # it is told again each time that so long has passed; 0: once
