"""What is seen of a long count at a terminal, and nowhere else."""

from __future__ import annotations

import pytest

from plotfarm.drives.probe import Progress
from plotfarm.reports import count_progress

SOME = Progress(files=123456, headers=7890, drives=17, all_drives=500)
IN_WORDS = "Counting plots: 123,456 found, 7,890 headers read, 17 of 500 drives done"


def test_one_line_that_is_gone_in_the_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(count_progress, "_SILENT_SECONDS", 0.0)
    with count_progress.shown() as show:
        assert show is not None
        show(SOME)
        show(SOME)
    assert capsys.readouterr().err == f"\r\033[K{IN_WORDS}\r\033[K"


def test_it_stays_on_one_line_however_narrow_the_terminal_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(count_progress, "_SILENT_SECONDS", 0.0)
    with count_progress.shown() as show:
        assert show is not None
        show(SOME)
    line = capsys.readouterr().err.split("\r\033[K")[1]
    assert len(line) == 59
    assert line.startswith("Counting plots: 123,456 found")


def test_a_quick_count_shows_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(count_progress, "_SILENT_SECONDS", 1000.0)
    with count_progress.shown() as show:
        assert show is not None
        show(SOME)
    assert capsys.readouterr().err == ""


def test_nothing_without_a_terminal() -> None:
    with count_progress.shown() as show:
        assert show is None


def test_where_all_headers_are_known() -> None:
    progress = Progress(files=5, headers=0, drives=1, all_drives=2)
    assert count_progress.in_words(progress) == "Counting plots: 5 found, 1 of 2 drives done"
