"""Logging for every script: `logging.yaml` says which files, the configuration where and how much.

Several processes write the same files at the same time; see SharedRotatingFileHandler for why that is safe.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from plotfarm.base.config.sections import Config
from plotfarm.base.private import make_private
from plotfarm.base.text import one_line

SETTINGS = Path(os.path.realpath(__file__)).parent / "logging.yaml"
_TERMINAL = "terminal"  # the handler that only `debug = True` switches on
_FILE = {"class": "system_logging.SharedRotatingFileHandler", "formatter": "line"}
_WITHOUT_YAML = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "system_logging.LineFormatter",
            "fmt": "%(asctime)s - %(module)s:%(lineno)d - %(funcName)s: %(levelname)s %(message)s",
        }
    },
    "handlers": {
        "error_file": {**_FILE, "filename": "error.log", "level": "ERROR"},
        "script_file": {**_FILE, "filename": "{script}.log", "level": "DEBUG"},
        _TERMINAL: {"class": "logging.StreamHandler", "formatter": "line"},
    },
    "root": {"handlers": ["error_file", "script_file", _TERMINAL]},
}


def configure_late(script: str, config: Config) -> None:
    """Set up logging as `configure` does, but only when the first record comes: who waits for a script waits less."""
    root = logging.getLogger()
    root.setLevel(logging.DEBUG)  # the level that counts is that of the configuration, which is applied then
    root.addHandler(_LateHandler(script, config))


class _LateHandler(logging.Handler):
    """Takes the first record, and has logging set up for it."""

    def __init__(self, script: str, config: Config) -> None:
        super().__init__()
        self._script = script
        self._config = config

    def emit(self, record: logging.LogRecord) -> None:
        """Give way to the handlers that are configured, and hand the record to them."""
        # Another list: whoever calls the handlers goes on with the one before, and calls none that is made here.
        logging.getLogger().handlers = []
        configure(self._script, self._config)
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)


def configure(script: str, config: Config, settings: Path = SETTINGS) -> None:
    """Set up logging for one script; `script` also names its own log file.

    Never fails: without usable log files there is one line on stderr, and warnings go there too.
    """
    import logging.config  # takes a while, as YAML does

    try:
        logging.config.dictConfig(_prepared(_settings(settings), script, config))
    except Exception as error:  # whatever stands in logging.yaml or on the disk, plots have to move
        print(f"{script}: {_explained(error, settings, config)}; logging to stderr", file=sys.stderr)  # noqa: T201
        handler = logging.StreamHandler()
        handler.setFormatter(LineFormatter("%(levelname)s %(message)s"))
        logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _settings(path: Path) -> Any:
    """Return what stands in `logging.yaml`; the most important of it where nothing can read YAML."""
    try:
        return _read_yaml(path)
    except ImportError:  # the packages of this checkout are not installed: that has to be logged too
        return _WITHOUT_YAML


def _read_yaml(path: Path) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with path.open("rb") as file:
        return yaml.load(file, Loader=loader)  # noqa: S506 - both are safe loaders


def _prepared(settings: dict[str, Any], script: str, config: Config) -> dict[str, Any]:
    """Return the settings of `logging.yaml` with log directory, script, level and debug mode filled in."""
    debug = config.system_settings.debug
    root = settings["root"]
    names = [name for name in root["handlers"] if name != _TERMINAL] if config.system_logging.logging else []
    handlers = {name: dict(settings["handlers"][name]) for name in [*names, *([_TERMINAL] if debug else [])]}
    for handler in handlers.values():
        if "filename" in handler:
            handler["filename"] = str(config.paths.logs / handler["filename"].format(script=script))
    if not handlers:
        handlers = {"nowhere": {"class": "logging.NullHandler"}}
    level = "DEBUG" if debug else config.system_logging.log_level
    return {**settings, "handlers": handlers, "root": {**root, "level": level, "handlers": list(handlers)}}


def _explained(error: Exception, settings: Path, config: Config) -> str:
    # dictConfig wraps what a handler raised in its own ValueError.
    cause = error.__cause__ or error
    if isinstance(cause, OSError) and cause.filename != str(settings):
        remedy = "let this user write there, or set [paths] logs"
        return f"cannot write the logs in {config.paths.logs} ({cause.filename}: {cause.strerror}): {remedy}"
    return f"cannot use {settings} ({one_line(str(cause) or type(cause).__name__)})"


class LineFormatter(logging.Formatter):
    """One line for each record, whatever a file name holds; only a traceback takes more lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Return the line of a record, without its traceback."""
        return one_line(super().formatMessage(record))

    def formatException(  # noqa: N802
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """Return a traceback, each of its lines indented so that none can be taken for a record."""
        return "\n".join("    " + one_line(line) for line in super().formatException(ei).split("\n"))


class SharedRotatingFileHandler(logging.Handler):
    """A rotating log file that several processes write: FILE, then FILE.1 (newest) to FILE.<backups>.

    Each record is one write to a descriptor in append mode, which the kernel keeps whole. So writing needs no
    lock, and no stopped process can hold up another. Only rotating takes one, `flock` on the log file itself:
    who does not get it leaves the rotation to the one who has it. The log file is renamed last; whoever still
    had it open writes that one record at the end of FILE.1 and opens the new FILE for the next.
    """

    def __init__(self, filename: str, max_bytes: int = 10 * 2**20, backups: int = 5) -> None:
        super().__init__()
        self.filename = filename
        self.max_bytes = max_bytes
        self.backups = backups
        self._complained = False
        Path(filename).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = self._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; the first failure is one line on stderr, later ones are not repeated."""
        try:
            data = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
            self._follow()
            if os.fstat(self._descriptor).st_size + len(data) > self.max_bytes:
                self._try_to_rotate()
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            self._complain(error)
        except Exception:  # a record that cannot be formatted: as every other handler does
            self.handleError(record)

    def close(self) -> None:
        """Close the file."""
        with self.lock:  # type: ignore[union-attr]  # Handler.__init__ made it
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
        super().close()

    def _open(self) -> int:
        make_private(Path(self.filename))
        return os.open(self.filename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _is_current(self) -> bool:
        if self._descriptor < 0:
            return False
        try:
            return os.path.samestat(os.stat(self.filename), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def _follow(self) -> None:
        """Open the file anew if another process rotated it away."""
        if not self._is_current():
            before, self._descriptor = self._descriptor, self._open()
            if before >= 0:
                os.close(before)

    def _try_to_rotate(self) -> None:
        """Rotate unless another process does; a file that cannot be rotated grows on, no record is lost."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        try:
            # Only now is it sure that nobody else renames it; an empty file is never worth a rotation.
            if self._is_current() and os.fstat(self._descriptor).st_size > 0:
                self._shift()
        except OSError as error:
            self._complain(error)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._follow()

    def _shift(self) -> None:
        names = [self.filename, *(f"{self.filename}.{number}" for number in range(1, self.backups + 1))]
        for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
            if os.path.exists(newer):
                os.replace(newer, older)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            print(f"cannot write the log {self.filename}: {error.strerror}", file=sys.stderr)  # noqa: T201
