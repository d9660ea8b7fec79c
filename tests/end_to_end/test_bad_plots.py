"""What should not lie in a plot directory, and plots that are not whole: each gets its message, the others travel."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from farm_help import audit, big_plot, logs, names_and_digests

from testbed.farm import Farm, sha256
from testbed.plots import PlotShop, gplot_name, v1_name

PutV1 = Callable[[Path, str], Path]


def test_bad_names_stay_and_are_told_of(farm: Farm, put_v1: PutV1) -> None:
    good = put_v1(farm.plots, "good")
    bad = {
        b"with space.plot": "the name contains a space",
        b"quote'\".plot": "the name contains '",
        b"$(touch trace).plot": "the name contains a space",
        b"$(touch${IFS}trace).plot": "the name contains $",
        b"`id`.plot": "the name contains `",
        b";reboot;.plot": "the name contains ;",
        b"line\nbreak.plot": "the name contains a line break",
        b"-rf.plot": "the name begins with '-'",
        b"--config=x.plot": "the name contains =",
        b"..plot": "the name begins with '.'",
        b"\xff\xfe.plot": "the name is not valid UTF-8",
        b"\x1b[2J.plot": r"the name contains \x1b",
        b"x" * 250 + b".plot": "the name has 255 bytes, at most 200 are allowed",
    }
    for name in bad:
        Path(os.fsdecode(os.fsencode(farm.plots) + b"/" + name)).write_bytes(good.read_bytes())
    before = {path.name: sha256(path) for path in farm.plots.iterdir()}
    run = farm.plot_manager()
    assert run.returncode == 0, logs(farm)
    assert [path.name for path in farm.stored()] == [good.name]
    assert before == {path.name: sha256(path) for path in farm.plots.iterdir()} | {good.name: before[good.name]}
    log = (farm.plotter.logs / "plot_manager.log").read_text()
    for reason in bad.values():
        assert reason.replace("\\", "\\\\") in log.replace("\\\\", "\\") or reason in log, log
    assert "\x1b" not in log
    assert list(farm.root.rglob("trace")) == []


def test_what_is_no_regular_file_stays(farm: Farm, put_v1: PutV1) -> None:
    good = put_v1(farm.plots, "good")
    elsewhere = put_v1(farm.root, "elsewhere")
    odd = {name: farm.plots / v1_name(name) for name in ("link", "password", "dangling", "directory", "pipe")}
    odd["link"].symlink_to(elsewhere)
    odd["password"].symlink_to("/etc/passwd")
    odd["dangling"].symlink_to(farm.root / "nowhere")
    odd["directory"].mkdir()
    (odd["directory"] / "inner.plot").write_bytes(b"x")
    os.mkfifo(odd["pipe"])
    run = farm.plot_manager()
    assert run.returncode == 0, logs(farm)
    assert [path.name for path in farm.stored()] == [good.name]
    log = farm.plotter.log_text()
    for name, reason in (
        ("link", "it is a symlink"), ("password", "it is a symlink"), ("dangling", "it is a symlink"),
        ("directory", "it is a directory"), ("pipe", "it is not a regular file"),
    ):  # fmt: skip
        assert f"Passed over: {odd[name].name}: {reason}" in log
        assert os.path.lexists(odd[name])
    assert elsewhere.exists()


def test_plots_that_are_not_whole_stay(farm: Farm, shop: PlotShop, put_v1: PutV1) -> None:
    whole_v1, whole_group = put_v1(farm.root, "cut").read_bytes(), shop.gplot(farm.root).read_bytes()
    (farm.root / "growing").mkdir()
    group_names = [gplot_name(seed) for seed in ("empty", "truncated", "header only")]
    reasons = {
        v1_name("empty"): "the file is empty",
        v1_name("truncated"): "bytes are there",
        v1_name("header only"): "bytes are there",
        v1_name("longer"): "longer than its header says",
        group_names[0]: "the file is empty",
        group_names[1]: "",
        group_names[2]: "",
        "plot-k32-empty.plot2": "the file is empty",
    }
    contents = [
        b"", whole_v1[:-100], whole_v1[:4096], whole_v1 + b"\0", b"", whole_group[:-100], whole_group[:64], b"",
    ]  # fmt: skip
    for name, content in zip(reasons, contents, strict=True):
        (farm.plots / name).write_bytes(content)
    good = put_v1(farm.plots, "good")
    run = farm.plot_manager()
    assert run.returncode == 0, logs(farm)
    assert [path.name for path in farm.stored()] == [good.name]
    lines = (farm.plotter.logs / "plot_manager.log").read_text().splitlines()
    for name, reason in reasons.items():
        (line,) = [line for line in lines if f"Not sent: {name}: " in line]
        assert reason in line
    assert {path.name: path.read_bytes() for path in farm.waiting()} == dict(zip(reasons, contents, strict=True))


@pytest.mark.parametrize("kind", ["v1", "gplot", "unknown"])
def test_a_plot_that_still_grows_stays_until_it_is_whole(farm: Farm, shop: PlotShop, put_v1: PutV1, kind: str) -> None:
    made = {
        "v1": lambda: put_v1(farm.root, "growing"),
        "gplot": lambda: shop.gplot(farm.root, "growing"),
        "unknown": lambda: big_plot(farm.root, "growing", 3 * 2**20),
    }[kind]()
    content = made.read_bytes()
    growing = farm.plots / made.name
    good = put_v1(farm.plots, "good")
    with open(growing, "wb", buffering=0) as writer:
        writer.write(content[: len(content) // 2])
        assert farm.plot_manager().returncode == 0
        assert [path.name for path in farm.stored()] == [good.name], logs(farm)
        writer.write(content[len(content) // 2 :])
        assert farm.plot_manager().returncode == 0
        assert len(farm.stored()) == 1, "whole by its size, but its writer is not done"
    manifest = names_and_digests(farm)
    assert farm.plot_manager().returncode == 0
    assert sorted(path.name for path in farm.stored()) == sorted([good.name, growing.name]), logs(farm)
    manifest |= {good.name: sha256(farm.drives[0] / good.name)}
    audit(farm, manifest)


def test_noise_before_hello_is_skipped(farm: Farm, put_v1: PutV1) -> None:
    """A login script that greets, in words, in JSON and in bytes that are no text."""
    script = farm.root / "receive_plot.sh"
    greeting = (
        r"""printf 'Welcome to the NAS!\n\n{"type": "heartbeat"}\n[1]\n\377\376\0\n{"half": \nlast login: never\n'"""
    )
    script.write_text(script.read_text().replace("exec", f"{greeting}\nexec"))
    put_v1(farm.plots, "through the noise")
    manifest = names_and_digests(farm)
    run = farm.plot_manager()
    assert (run.returncode, run.stderr) == (0, ""), logs(farm)
    assert len(farm.stored()) == 1
    audit(farm, manifest)


HELLO = '{"type": "hello", "suite": "chia-plot-manager", "version": 3}'
CAPACITY = '{"type": "capacity", "plots": 5, "streams": 1, "arriving_bytes": 0, "detail": ""}'


def have(hashes: str) -> str:
    return f'{{"type": "have", "path": "/x", "segments": ["{hashes}"]}}'


def replace_the_nas(farm: Farm, *lines: str) -> None:
    """Let something else answer, which says these lines and then listens for ever."""
    script = farm.root / "receive_plot.sh"
    said = "\n".join(lines)
    script.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\ncat > /dev/null\n")


@pytest.mark.parametrize(("version", "end"), [(2, "the other end"), (4, "this end")])
def test_a_nas_of_another_version(farm: Farm, put_v1: PutV1, version: int, end: str) -> None:
    replace_the_nas(farm, HELLO.replace("3}", f"{version}}}"))
    plot = put_v1(farm.plots, "safe")
    run = farm.plot_manager()
    assert run.returncode == 1
    assert f"upgrade {end}" in run.stderr
    assert plot.exists()


@pytest.mark.parametrize(
    "lines",
    [
        (HELLO, "Segmentation fault"),
        (HELLO, '{"type": "stored", "path": "/x"}'),
        (HELLO, CAPACITY, '{"type": "ready"}'),
        (HELLO, CAPACITY, have("0")),
        (HELLO, CAPACITY, have("0" * 64)),
        (HELLO, CAPACITY.replace("5", "-5")),
    ],
)
def test_a_nas_that_speaks_otherwise(farm: Farm, put_v1: PutV1, lines: tuple[str, ...]) -> None:
    """Whatever a broken or hostile NAS answers, the source stays, and one line says why."""
    replace_the_nas(farm, *lines)
    plot = put_v1(farm.plots, "safe")
    before = sha256(plot)
    run = farm.plot_manager()
    assert run.returncode == 1
    assert len(run.stderr.splitlines()) == 1
    assert "Traceback" not in farm.plotter.log_text()
    assert sha256(plot) == before
