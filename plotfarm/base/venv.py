"""Hand over to the checkout's `.venv`, so that every script runs from any directory with no activation.

The first lines of each script call this, under whatever Python the shell or cron found, before anything
else is imported. So: `os` and `sys` only, and nothing that an old Python (3.6) cannot read.
"""

import os
import sys

_CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
_VENV = os.path.join(_CHECKOUT, ".venv")
_STAMP = os.path.join(_VENV, ".requirements-stamp")  # a copy of requirements.txt, written last by install.sh
_WANTED = os.path.join(_CHECKOUT, "requirements.txt")
_HANDED_OVER = "PLOT_MANAGER_HANDED_OVER"
_OLDEST = (3, 11)


def hand_over() -> None:
    """Go on under `.venv/bin/python` with the same arguments; return only if that is so already.

    A `.venv` that is missing, or does not fit this checkout any more, ends the script with one line and
    status 1, and is told by plotfarm/jobs/cannot_start.py if nobody looks.
    """
    _open_standard_streams()
    handed_over = os.environ.pop(_HANDED_OVER, None) == str(os.getpid())
    if os.path.realpath(sys.prefix) == os.path.realpath(_VENV):
        _refuse_other_version()
        return
    python = os.path.join(_VENV, "bin", "python")
    if not os.path.isdir(_VENV):
        _end("its Python packages are not installed yet")
    if handed_over:  # that Python does not believe that it lives in .venv: trying again would never end
        _end("the .venv is broken")
    if not os.access(python, os.X_OK):
        _end("the Python that the .venv was made with is gone")
    if not _fits_requirements():
        _end("the .venv is unfinished, or older than requirements.txt")
    os.environ[_HANDED_OVER] = str(os.getpid())
    os.execv(python, [python, os.path.realpath(sys.argv[0]), *sys.argv[1:]])  # noqa: S606 (no shell is wanted)


def _open_standard_streams() -> None:
    """Give this process what was closed for it (`>&-`): a file that got such a number would be printed into."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def _refuse_other_version() -> None:
    # After an upgrade of the system .venv/bin/python can be a newer Python, which does not see the packages.
    major, minor = sys.version_info[:2]
    packages = os.path.join(_VENV, "lib", f"python{major}.{minor}", "site-packages")
    if (major, minor) < _OLDEST or not os.path.isdir(packages):
        _end("the .venv was made by another version of Python")


def _fits_requirements() -> bool:
    try:
        with open(_STAMP, "rb") as installed, open(_WANTED, "rb") as wanted:
            return installed.read() == wanted.read()
    except OSError:
        return False


def _end(reason: str) -> None:
    script = os.path.basename(sys.argv[0])
    if not any(os.isatty(stream) for stream in range(3)):
        _tell(script, reason)
    sys.stderr.write(f"{script}: {reason}: run ./install.sh plotter (or nas, or demo) in {_CHECKOUT}\n")
    sys.exit(1)


def _tell(script: str, reason: str) -> None:
    """Have a process of its own tell that nothing starts here any more: nobody reads what cron's jobs say.

    With the Python of .venv, which may have what it needs although it is too old for this checkout, or else with this.
    """
    import subprocess

    own = os.path.join(_VENV, "bin", "python")
    python = own if os.access(own, os.X_OK) else sys.executable
    command = [python, "-m", "plotfarm.jobs.cannot_start", script, reason, *sys.argv[1:]]
    try:
        subprocess.Popen(
            command,
            cwd=_CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:  # what stderr says is all that can be said
        return
