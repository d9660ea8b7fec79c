"""`drive_manager.py -off DRIVE` and `-on DRIVE`: taking a drive out of use, and back; also out of quarantine."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plotfarm.base.config.loader import find_config, load
from plotfarm.base.config.sections import Config
from plotfarm.base.errors import PlotfarmError
from plotfarm.base.locks import refuse_network_directory
from plotfarm.base.state import State
from plotfarm.drives import offlined
from plotfarm.drives.file_systems import FileSystems
from plotfarm.drives.model import Drive
from plotfarm.drives.mounts import as_mountpoint, survey
from plotfarm.drives.quarantine import Quarantine, Quarantined
from plotfarm.drives.reasons import Reason
from plotfarm.drives.reservations import Reservations
from plotfarm.plots.names import escaped

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Farm:
    """What a person may mean by a name."""

    mounted: Sequence[Drive]
    missing: Sequence[Drive]  # those that should be here
    replaced: Sequence[Drive]  # those of them that have another file system at their place
    serials: Mapping[str, str]  # by identity
    disks: Mapping[str, str]  # the whole disk behind a drive, by identity
    quarantined: Mapping[str, Quarantined]  # by identity; only of what is mounted

    def find(self, what: str, drives: Sequence[Drive]) -> Drive:
        return offlined.find(what, drives, self.serials, self.disks)

    def named(self, what: str, drives: Sequence[Drive]) -> list[Drive]:
        return offlined.named(what, drives, self.serials, self.disks)


def take_offline(config: Config, what: str) -> int:
    """Send no more plots to a drive; PlotfarmError if `what` means none that is mounted, or several."""
    refuse_network_directory(config.paths.locks)
    farm = _look_around(config, what)
    take_over(config, farm.mounted)
    if not farm.named(what, farm.mounted):
        if any(drive.identity == what for drive in farm.replaced):
            return _forget(config, what, farm)
        if farm.named(what, farm.missing):
            raise PlotfarmError(f"'{escaped(what)}' is not mounted: {offlined.listed(farm.mounted)}")
    drive = farm.find(what, farm.mounted)
    if not offlined.take_offline(config.paths.state, config.paths.locks, drive, time.time()):
        _say(f"{_shown(drive)} is offline already.", "warning")
        return 0
    # Looked at only now: whoever reserves the drive after this sees that it is offline.
    sentences = [f"{_shown(drive)} is offline: no more plots go there."]
    reservations = Reservations(config.paths.locks)
    with reservations.mutex():
        arriving = [one for one in reservations.arrivals() if one.identity == drive.identity and one.alive]
    sentences += [f"The plot that is arriving there now finishes: {escaped(one.plot)}." for one in arriving]
    if drive.mountpoint == as_mountpoint(config.plotting_drives.current_plotting_drive):
        when = "once that plot is there" if arriving else "at its next run"
        sentences.append(f"drive_manager.py chooses another plot drive {when}.")
    _say(" ".join(sentences), "warning")
    return 0


def _forget(config: Config, identity: str, farm: _Farm) -> int:
    """Look no more for a drive that another one has replaced, until it is mounted and brought online."""
    drive = next(drive for drive in farm.replaced if drive.identity == identity)
    offlined.take_offline(config.paths.state, config.paths.locks, drive, time.time())
    _say(f"{_shown(drive)} is not looked for any more: another drive has its place.", "warning")
    return 0


def bring_online(config: Config, what: str) -> int:
    """Let plots go to a drive again that is offline or in quarantine; PlotfarmError if `what` means no drive.

    One that is offline may be not mounted now.
    """
    refuse_network_directory(config.paths.locks)
    farm = _look_around(config, what)
    take_over(config, farm.mounted)
    entries = offlined.read_entries(config.paths.state)
    known = [*farm.mounted, *farm.missing]
    ways = offlined.ways(entries)
    offline = [drive for drive in known if offlined.is_offlined(drive, ways)] + offlined.absent(entries, known)
    quarantined = [drive for drive in farm.mounted if drive.identity in farm.quarantined and drive not in offline]
    if not farm.named(what, [*offline, *quarantined]):
        return _nothing_to_do(farm, what, offline)

    drive = farm.find(what, [*offline, *quarantined])
    if drive in offline:
        offlined.bring_online(config.paths.state, config.paths.locks, drive, known, time.time())
    entry = farm.quarantined.get(drive.identity)
    if entry is not None:
        _lift_quarantine(config, entry)
    _say(_back_in_use(drive, farm, drive in offline, entry is not None), "chosen")
    return 0


def _lift_quarantine(config: Config, entry: Quarantined) -> None:
    state = State(config.paths.state)
    try:
        is_lifted = Quarantine(state.database).lift(entry.identity)
    finally:
        state.close()
    if not is_lifted:
        raise PlotfarmError("the quarantine cannot be lifted: the state database cannot be written; see the log")


def _back_in_use(drive: Drive, farm: _Farm, was_offline: bool, was_quarantined: bool) -> str:
    if drive not in farm.mounted:
        return f"{_shown(drive)} is no longer offline; it is not mounted now."
    said = []
    if was_offline:
        said.append("is online again")
    if was_quarantined:
        said.append("is no longer in quarantine")
    return f"{_shown(drive)} {' and '.join(said)}: plots may go there."


def _nothing_to_do(farm: _Farm, what: str, offline: Sequence[Drive]) -> int:
    online = ", ".join(_shown(drive) for drive in farm.named(what, farm.mounted))
    if online:
        _say(f"{'Nothing to do' if offline else 'No drive is offline'}: {online} is online already.", "warning")
        return 0
    if not offline:
        raise PlotfarmError(f"no drive is offline, and none is called '{escaped(what)}'")
    raise PlotfarmError(f"no offline drive is called '{escaped(what)}': {offlined.listed(offline)}")


def offlined_names(config: str | None) -> list[str]:
    """Return the drives that are offline, for the help: "drive6 (/mnt/...)"; none if that cannot be told.

    `config` is the path from the command line, if any. Never raises: the help is there also when nothing else works.
    """
    try:
        settings = load(find_config(config))
        entries = offlined.read_entries(settings.paths.state)
        drives = [Drive(entry.place or entry.text, "", entry.text, 0, "") for entry in entries]
        return list(dict.fromkeys(_shown(drive) for drive in drives))
    except Exception:  # a bug here must not keep anybody from reading the help
        return []


def take_over(config: Config, mounted: Sequence[Drive]) -> None:
    """Take over the offlined drives of the system before this one, once. What cannot be written is honoured anyway."""
    try:
        taken = offlined.take_over(config.paths.state, config.paths.locks, mounted, time.time())
    except PlotfarmError as error:
        _LOG.warning("%s", error)
        return
    if taken:
        _LOG.info("Taken over from %s as offline: %s", offlined.ORIGINAL, ", ".join(taken))


def _look_around(config: Config, what: str) -> _Farm:
    from plotfarm.drives.smart.disks import disk_of
    from plotfarm.drives.smart.records import HealthRecords

    state = State(config.paths.state)
    try:
        seen = survey(config.drives, known=state.known_drives(), read=FileSystems(state.database).at_places())
        serials = HealthRecords(state.database).serials()
        everything = [*seen.drives, *(verdict.drive for verdict in seen.passed_over)]
        quarantined = Quarantine(state.database).active(everything)
    finally:
        state.close()
    numbers = {drive.device_number for drive in seen.drives}
    others = [verdict.drive for verdict in seen.passed_over]
    # Also what is mounted and passed over for now: a failing drive that turned read-only.
    mounted = [*seen.drives, *(one for one in others if one.device_number and one.device_number not in numbers)]
    missing = [drive for drive in others if not drive.device_number]
    replaced = [each.drive for each in seen.passed_over if each.why.reason is Reason.WRONG_DRIVE]
    disks = {drive.identity: disk_of(drive) for drive in mounted} if what.startswith("/dev/") else {}
    return _Farm(mounted, missing, replaced, serials, disks, quarantined)


def _shown(drive: Drive) -> str:
    place = "" if drive.mountpoint == drive.name else f" ({drive.mountpoint})"
    return escaped(f"{drive.name}{place}")


def _say(sentence: str, mood: str) -> None:
    from plotfarm.reports.terminal import say, standard_output

    _LOG.info("%s", sentence)
    say("\n".join(standard_output().lines(sentence, mood=mood)))
