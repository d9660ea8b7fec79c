"""Plans for the malicious NAS of evil_nas.py, made from a seed: each message with hostile values, in every state."""

from __future__ import annotations

import random
from typing import Any

Act = dict[str, Any]
Plan = dict[str, Any]

SPOILED = ("hello", "ask", "offer", "continue", "pouring", "sent", "commit", "recheck", "lost", "idle")
JOURNEYS = ("ready", "ready", "partial", "have")
# What a terminal, a mail or a log would take for more than text.
ESCAPES = "\x1b]0;owned\x07\x1b[2J\nforged: plot-k32.plot -> 10.0.0.9:/drive1 (hashes equal)\r\u202e\u2028\x9b31m"
RUNNING = "-lcid>/tmp/ran"
HASH = "a" * 64
PLACES = ("127.0.0.2", "::1", "-lk", RUNNING, "--", "localhost;id", "$(id)", "0.0.0.0")

# The right messages of a NAS, and some that only a plotter says.
MESSAGES: dict[str, dict[str, Any]] = {
    "hello": {"suite": "chia-plot-manager", "version": 3},
    "heartbeat": {"phase": "pouring"},
    "capacity": {"plots": 10, "streams": 10, "arriving_bytes": 0, "detail": ""},
    "placed": {"path": "/drive1/a.plot", "drive": "drive1", "is_stored": False},
    "refused": {"refusal": "busy", "detail": "all drives are taken"},
    "partial": {"segments": [HASH]},
    "ready": {
        **{"port": "$PORT", "token": "0" * 32, "drive": "drive1", "arrival": "0" * 16},
        **{"segments": 0, "attempt": 1},
    },
    "have": {"path": "/drive1/a.plot", "segments": "$TRUTH"},
    "arrived": {"size": "$SIZE", "segments": "$TRUTH"},
    "stored": {"arrival": "0123456789abcdef", "path": "/drive1/a.plot", "segments": "$TRUTH"},
    "rechecked": {"number": "$RECHECK", "size": "$SIZE", "mtime_ns": 1_600_000_000_123_456_789},
    "failed": {"failure": "I/O error", "detail": "the drive is ill", "is_resumable": True},
    "ask": {"size": 1},
    "offer": {"name": "plot-k32.plot", "size": 1},
    "continue": {"segments": 1},
    "commit": {},
    "done": {},
    "exec": {"command": "id"},
}

NUMBERS = (
    *(-1, 0, 1, 2, 21, 80, 1023, 1024, 6379, 65535, 65536, 70000, 2**31, 2**63 - 1, 2**63, 2**64, 10**30, 10**400),
    *(-(2**63), 1.5, 4040.0, 1e308, float("inf"), float("nan"), True, "4040", "$CANARY_PORT", "$SOURCE_TIME"),
)
TEXTS = (
    *(
        "",
        "x",
        ESCAPES,
        RUNNING,
        "-lk",
        "\x00",
        "\ud800\udfff",
        "\udc1b[2J",
        "../../etc/passwd",
        "%s%n{0}",
        "[red]x[/red]",
    ),
    *("x" * 300, "x" * 301, "x" * 16_000, "\U0001f4a9" * 300, "\\" * 300, "é" * 1000, "127.0.0.2", "0" * 31, "A" * 32),
)
OTHERS: tuple[Any, ...] = (
    None,
    [],
    {},
    [[]],
    {"a": [1, {"b": None}]},
    True,
    0,
    "$WRONG",
    "$SHORT",
    "$LONG",
    ["x"] * 9000,
)
LISTS: tuple[Any, ...] = (
    *(
        [],
        "$WRONG",
        "$SHORT",
        "$LONG",
        "$TRUTH",
        [HASH] * 8192,
        [HASH] * 8193,
        [HASH.upper()],
        [HASH, None],
        [HASH + "\n"],
    ),
    *(HASH, ["\ud800" * 64], [["x"] * 64], {"0": HASH}),
)


def plan(seed: int) -> Plan:
    """Return the plan of a seed: what is spoiled goes round all states, everything else is drawn."""
    chance = random.Random(seed)
    state = SPOILED[seed % len(SPOILED)]
    journey = _journey_to(state, chance)
    acts, then = _acts(chance, state)
    nth = chance.choice((1, 1, 1, 0, 2)) if state in ("recheck", "lost", "ask") else chance.choice((1, 1, 1, 0))
    data = chance.choice(("hold", "take", "take", "cut")) if state == "pouring" else "take"
    if state == "lost":
        data = chance.choice(("refuse", "cut"))
    return {
        "seed": seed,
        "journey": journey,
        "state": state,
        "nth": nth,
        "moment": chance.choice(("instead", "instead", "before", "after")),
        "acts": acts,
        "then": then,
        "data": data,
        "bytes": chance.choice((1, 32, 33, 100_000)),
        "is_large": state in ("pouring", "lost"),
        "pipe": "netcat" if chance.random() < 0.04 else "direct",
    }


def _journey_to(state: str, chance: random.Random) -> str:
    if state == "continue":
        return "partial"
    if state in ("pouring", "sent", "commit", "lost"):
        return chance.choice(("ready", "ready", "partial"))
    return chance.choice(JOURNEYS)


def _acts(chance: random.Random, state: str) -> tuple[list[Act], str]:
    """Return what is done, and how it goes on then."""
    then = chance.choices(("rightly", "closing", "silently", "beating"), (80, 12, 3, 5))[0]
    kinds = ("spoil", "say", "raw", "flood", "again", "nothing", "part", "stderr", "close_data", "lie", "endless")
    kind = chance.choices(kinds, (30, 30, 12, 4, 6, 3, 3, 3, 3, 6, 3))[0]
    acts: list[Act] = []
    match kind:
        case "spoil":
            acts = [{"spoil": _spoiled_fields(_answer_to(state, chance), chance)}]
        case "say":
            acts = [{"say": _message(chance)} for _ in range(chance.choice((1, 1, 1, 2, 6)))]
        case "raw":
            acts = [{"raw": _raw(chance)}]
        case "flood":
            acts = [_flood(chance)]
        case "again":
            acts = [{"again": chance.choice((2, 3, 6, 40))}]
        case "part":
            acts = [{"last_part": True}]
            then = chance.choice(("closing", "beating", "silently"))
        case "stderr":
            acts = [
                {
                    "stderr": ESCAPES.encode("utf-8", "replace").decode("latin-1") + "x" * 5000,
                    "times": chance.choice((1, 400)),
                }
            ]
        case "close_data":
            acts = [{"close_data": True}]
        case "endless":
            acts = [{"say": {"type": "partial", "segments": "$TRUTH"} if state == "continue" else _message(chance)}]
        case "lie":
            acts = [_lie(state, chance)]
    return acts, then


def _answer_to(state: str, chance: random.Random) -> str:
    answers = {
        "hello": ("hello",),
        "ask": ("capacity", "refused"),
        "offer": ("ready", "partial", "have", "refused"),
        "sent": ("arrived",),
        "commit": ("stored",),
        "recheck": ("rechecked",),
    }
    return chance.choice(answers.get(state, ("ready", "failed")))


def _message(chance: random.Random) -> dict[str, Any]:
    """Return any message, right or spoiled."""
    kind = chance.choice(list(MESSAGES))
    message = {"type": kind, **MESSAGES[kind]}
    if chance.random() < 0.7:
        message |= _spoiled_fields(kind, chance)
    if chance.random() < 0.1 and len(message) > 1:
        del message[chance.choice(list(message))]
    return message


def _spoiled_fields(kind: str, chance: random.Random) -> dict[str, Any]:
    """Return hostile values for one to three fields of a message, or fields that it does not have."""
    fields = MESSAGES[kind]
    changed: dict[str, Any] = {}
    for _ in range(chance.choice((1, 1, 2, 3))):
        if not fields or chance.random() < 0.1:
            changed[chance.choice(("address", "offset", "retry", ESCAPES, "__class__", "type"))] = _hostile(
                None, chance
            )
            continue
        name = chance.choice(list(fields))
        changed[name] = _hostile(fields[name], chance)
    if kind == "ready" and chance.random() < 0.3:
        changed["address"] = chance.choice(PLACES)
    return changed


def _hostile(right: object, chance: random.Random) -> Any:
    """Return a value in the place of the right one: mostly of its type, so that it comes as far as it can."""
    if chance.random() < 0.15:
        return chance.choice((*NUMBERS, *TEXTS, *OTHERS, *LISTS))
    if isinstance(right, bool):
        return chance.choice((1, "true", None, not right))
    if isinstance(right, int) or right in ("$PORT", "$SIZE", "$RECHECK"):
        return chance.choice(NUMBERS)
    if isinstance(right, list) or right == "$TRUTH":
        return chance.choice(LISTS)
    return chance.choice(TEXTS)


def _raw(chance: random.Random) -> str:
    """Return bytes (as latin-1) that are no right line."""
    depth = chance.choice((10, 300, 900, 950, 980, 985, 990, 995, 1000, 5000))
    nested = "[" * depth + "]" * depth
    return chance.choice(
        (
            *(
                "\n",
                "\r\n",
                "\x00\n",
                "\xff\xfe\n",
                "{}\n",
                "[]\n",
                "null\n",
                "1\n",
                '"x"\n',
                "9" * 5000 + "\n",
                "{" * 60 + "\n",
            ),
            *('{"type": "ready"}\n', '{"type": "heartbeat", "phase": "idle"', "x" * 20_000, "x" * 20_000 + "\n"),
            *('{"type": "partial", "segments": ["' + "a" * 600_000, '{"type": "ready", "drive": "' + "a" * 600_000),
            *(
                f'{{"type": "ready", "port": {nested}}}\n',
                f'{{"type": {nested}}}\n',
                nested + "\n",
                '{"a":' * depth + "1" + "}" * depth + "\n",
            ),
            f'{{"type": "capacity", "plots": {"9" * 5000}, "streams": 1, "arriving_bytes": 0, "detail": ""}}\n',
            f'{{"type": "capacity", "plots": {nested}, "streams": 1, "arriving_bytes": 0, "detail": ""}}\n',
            '{"type": "refused", "type": "stored", "refusal": "busy", "detail": ""}\n',
            '{"type": "refused", "refusal": "busy", "detail": "' + "\\ud800" * 300 + '"}\n',
            '{"type": "refused", "refusal": "busy", "detail": "\x1b[2J\x00"}\n',
            "".join(chr(chance.randrange(256)) for _ in range(chance.choice((10, 1000, 70_000)))),
        )
    )


def _flood(chance: random.Random) -> Act:
    """Return more of the same than anybody can want."""
    lines = (
        '{"type": "heartbeat", "phase": "pouring"}\n',
        '{"type": "capacity", "plots": 1000000000, "streams": 1000000, "arriving_bytes": 0, "detail": ""}\n',
        '{"type": "hello", "suite": "chia-plot-manager", "version": 3}\n',
        '{"type": "partial", "segments": []}\n',
        '{"type": "failed", "failure": "stalled", "detail": "' + "x" * 300 + '", "is_resumable": true}\n',
        "\n",
        "x" * 65536,
        "Welcome! \x1b[2J\n",
    )
    return {"many": chance.choice(lines), "times": chance.choice((5, 30, 2000))}


def _lie(state: str, chance: random.Random) -> Act:
    """Return an answer that is right in its form, and not true."""
    lies: dict[str, tuple[dict[str, Any], ...]] = {
        "offer": (
            {"segments": "$WRONG"},
            {"segments": "$SHORT"},
            {"segments": "$TRUTH"},
            {"segments": 1},
            {"segments": 0},
        ),
        "continue": ({"segments": 3}, {"segments": 0}, {"arrival": "f" * 16}),
        "sent": ({"segments": "$WRONG"}, {"segments": "$SHORT"}, {"segments": "$LONG"}, {"segments": []}, {"size": 1}),
        "commit": ({"segments": "$WRONG"}, {"arrival": "f" * 16}, {"segments": []}, {"path": ESCAPES[:200]}),
        "recheck": (
            {"mtime_ns": "$SOURCE_TIME"},
            {"size": 1},
            {"mtime_ns": 5},
            {"number": 1},
            {"number": 2},
            {"mtime_ns": -5},
        ),
    }
    return {"spoil": chance.choice(lies.get(state, ({"detail": ESCAPES},)))}
