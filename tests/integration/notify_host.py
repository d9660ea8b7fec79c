"""A host with a configuration of its own, for the tests of notifications."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

from plotfarm.base.condition import Severity
from plotfarm.base.config.loader import load
from plotfarm.base.database import Database
from plotfarm.base.locks import Lock
from plotfarm.base.state import State, Transfer, TransferOutcome
from plotfarm.drives.model import MARKER
from plotfarm.notify.message import Message
from plotfarm.notify.outbox import Outbox
from testbed.mail_server import MailServer

CHECKOUT = Path(__file__).parents[2]
FARMER, PARTNER, NOBODY = "farmer@example.org", "partner@example.org", "nobody@example.org"


def message(subject="drive6 is hot", severity=Severity.WARNING, kind="alert"):
    return Message(kind, severity, subject, f"short: {subject}", f"text: {subject}\n")


def port_of_nobody(listening):
    """The port of a socket that is bound and does not listen: closed, and nobody else gets it."""
    listening.bind(("127.0.0.1", 0))
    return listening.getsockname()[1]


class BlockingMailServer(MailServer):
    """A mail server that takes a mail and says nothing before it may."""

    def __init__(self):
        super().__init__()
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.arrived = threading.Semaphore(0)  # one for each mail

    def keep(self, session, envelope):
        self.reached.set()
        assert self.go_on.wait(60)
        super().keep(session, envelope)
        self.arrived.release()

    def stop(self):
        self.go_on.set()
        super().stop()


class Host:
    """Directories and a configuration, which `write` writes; drive1 is a directory that is declared to be a drive."""

    def __init__(self, base):
        self.base, self.state, self.locks = base, base / "state", base / "locks"
        self.path = base / "config"
        self.drive = base / "drive1"
        self.drive.mkdir()
        (self.drive / MARKER).touch()
        self.sections = {
            "system_settings": {"server_name": "nas"},
            "system_logging": {"logging": "True", "log_level": "DEBUG"},
            "paths": {"logs": base / "logs", "state": self.state, "locks": self.locks},
            "plotting_drives": {"current_plotting_drive": self.drive},
            "drives": {"directories": self.drive, "mounts": f"{base}/enclosure*/**/drive*", "minimum_free": "1 MB"},
            "smart": {"smartctl": "/bin/false"},
            "watch": {"system_disk_free": "1", "trouble_minutes": "0"},
            "chia": {"home": base / "chia"},
            "notifications": {"alerting": "True", "timeout_seconds": "10"},
            "email": {"sender": "nas@example.org", "recipients": FARMER, "security": "none", "host": "127.0.0.1"},
        }
        self.write()
        state = State(self.state)  # plots are small here
        plot = Transfer(
            time.time(), "a.plot", "plot", "/s", "/t", "rig", 1_000_000, 1.0, "", "", TransferOutcome.STORED
        )
        state.record_transfer(plot)
        state.close()

    def write(self, **sections):
        """Write the configuration with these values: `notifications={"email": "True"}`; they stay for the next time."""
        for name, values in sections.items():
            self.sections.setdefault(name, {}).update(values)
        self.path.write_text(
            "".join(
                f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
                for name, values in self.sections.items()
            )
        )
        self.path.chmod(0o600)

    def mails_go_to(self, server, **email):
        self.write(notifications={"email": "True"}, email={"port": server.port, **email})

    @property
    def config(self):
        return load(self.path)

    def database(self):
        return Database(self.state)

    def put(self, *messages, targets=(("email", FARMER),), now=None):
        database = self.database()
        for each in messages:
            assert Outbox(database).put(each, targets, time.time() if now is None else now)
        database.close()

    def sql(self, statement, *values):
        database = self.database()
        rows = database.rows(statement, values)
        database.close()
        return rows

    def pass_time(self):
        """Let the pauses of all that waits be over."""
        self.sql("UPDATE outbox SET next_try = 0 WHERE ended IS NULL")

    def fates(self):
        """(subject, channel, recipient, result) of all rows."""
        return self.sql(
            "SELECT subject, channel, recipient, result FROM outbox JOIN messages ON messages.id = message "
            "ORDER BY outbox.id"
        )

    def start(self, *argv):
        return subprocess.Popen(
            [sys.executable, *argv, "--config", self.path],
            cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def start_delivery(self):
        return self.start("-m", "plotfarm.jobs.deliver")

    def drive_manager(self, *arguments):
        process = self.start("drive_manager.py", *arguments)
        output = process.communicate(timeout=60)[0]
        return process.returncode, output

    def delivery_ended(self):
        """Wait until the process that sends now has noted what it sent."""
        lock = Lock(self.locks / "outbox.lock")
        lock.acquire(wait=True)
        lock.release()

    def log(self, script):
        path = self.base / "logs" / f"{script}.log"
        return path.read_text() if path.exists() else ""
