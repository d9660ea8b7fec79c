"""Whether a disk is damaged or worn, whatever it says of itself: a decision on one reading."""

from __future__ import annotations

from dataclasses import dataclass

from plotfarm.drives.health import Health

# Above 0, each of these foretells a failure. Command timeouts and CRC errors do not count here: they come from cables
# and power supplies as well.
DAMAGE_COUNTERS = ("reallocated", "pending", "uncorrectable", "reported_uncorrectable")
_WORDS = {
    "reallocated": "reallocated sector",
    "pending": "pending sector",
    "uncorrectable": "uncorrectable sector",
    "reported_uncorrectable": "reported uncorrectable error",
}


@dataclass(frozen=True)
class Damage:
    """What is wrong with the surface or the life of a disk; false if nothing is."""

    counters: dict[str, int]  # by their names in Health; only those above 0
    worn: str  # as in Health

    def __bool__(self) -> bool:
        return bool(self.counters or self.worn)

    @property
    def word(self) -> str:
        """Return "damaged" or "worn", "" if it is neither."""
        if self.counters:
            return "damaged"
        return "worn" if self.worn else ""

    def details(self) -> str:
        """Return the numbers, for people."""
        said = [f"{number} {_WORDS[name]}{'s' if number > 1 else ''}" for name, number in self.counters.items()]
        return ", ".join([*said, *([self.worn] if self.worn else [])])


def damage_of(health: Health) -> Damage:
    """Return what the counters of a reading say, be it the first one."""
    values = {name: getattr(health, name) for name in DAMAGE_COUNTERS}
    return Damage({name: value for name, value in values.items() if value}, health.worn)
