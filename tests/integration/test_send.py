"""The sending end alone, against a NAS that is played here over real pipes and a real netcat."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

from plotfarm.base.config.sections import TransferSettings
from plotfarm.transfer import protocol
from plotfarm.transfer.channel import Channel
from plotfarm.transfer.digest import PIECE_BYTES
from plotfarm.transfer.netcat import NetcatListener, find_netcat
from plotfarm.transfer.protocol import Offer
from plotfarm.transfer.send import Observer, Sender, Source
from testbed.sshd import free_port

_PIECES = 30
_BEAT_SECONDS, _SILENCE_SECONDS = 0.1, 0.6


def _be_the_nas(read: int, write: int, port: int, heard: list[object]) -> None:
    """Take one plot through netcat; a plotter that falls silent shows as an error in `heard`."""
    channel = Channel(read, write, _BEAT_SECONDS, _SILENCE_SECONDS, "the plotter")
    listener = NetcatListener(*find_netcat("auto"), "127.0.0.1", port)
    sink = subprocess.Popen(["cat"], stdin=listener.pipe, stdout=subprocess.DEVNULL)
    try:
        listener.wait_until_listening()
        channel.send(protocol.hello())
        assert (channel.wait_for_one(timeout=5) or {})["type"] == "hello"
        assert (channel.wait_for_one(timeout=5) or {})["type"] == "offer"
        fields = {"address": "127.0.0.1", "port": port, "token": "t", "offset": 0, "drive": "drive1", "attempt": 1}
        channel.send(protocol.encode("ready", **fields))
        sent = channel.wait_for_one(timeout=20)
        heard.append(sent)
        channel.send(protocol.encode("stored", path="/drive1/x", digest=(sent or {}).get("digest")))
    except Exception as error:
        heard.append(error)
        os.close(write)
    finally:
        listener.close()
        sink.kill()
        sink.wait()


class _SlowDisk(Observer):
    """Each piece takes its time, as from a disk that other programs keep busy."""

    def moved(self, done: int) -> None:
        time.sleep(2 * _SILENCE_SECONDS / _PIECES)


def test_a_slow_source_does_not_silence_the_plotter(tmp_path: Path) -> None:
    """The pipe is never full then, so beats must not depend on waiting for it."""
    plot = tmp_path / "plot-k32-slow.plot"
    plot.write_bytes(os.urandom(1024) * (_PIECES * PIECE_BYTES // 1024))
    to_nas, to_plotter = os.pipe(), os.pipe()
    heard: list[object] = []
    nas = threading.Thread(target=_be_the_nas, args=(to_nas[0], to_plotter[1], free_port(), heard))
    nas.start()
    settings = TransferSettings(beat_seconds=_BEAT_SECONDS, silence_seconds=_SILENCE_SECONDS, stall_seconds=10)
    sender = Sender(Channel(to_plotter[0], to_nas[1], _BEAT_SECONDS, _SILENCE_SECONDS, "the NAS"), settings)
    source = os.open(plot, os.O_RDONLY)
    offer = Offer(plot.name, plot.stat().st_size, "unknown")
    sender.greet(5)
    begun = time.monotonic()
    delivered = sender.deliver(offer, Source(source), _SlowDisk())
    nas.join()
    os.close(source)
    assert delivered.how == "stored", heard
    assert isinstance(heard[0], dict)
    assert heard[0]["type"] == "sent"
    assert time.monotonic() - begun > 2 * _SILENCE_SECONDS
