"""Writes the tables of docs/protocol.md anew from the code: `.venv/bin/python docs/protocol_tables.py`.

A test compares what stands in the file with what this would write.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))

from plotfarm.transfer import channel, messages, pipe  # noqa: E402
from plotfarm.transfer.messages import Message  # noqa: E402
from plotfarm.transfer.outcomes import Failure, Phase, Refusal  # noqa: E402

DOCUMENT = CHECKOUT / "docs" / "protocol.md"


def directions() -> dict[str, str]:
    """Return the direction of every message, as the docstring of messages.py lists them."""
    found: dict[str, str] = {}
    for direction, names in re.findall(r"^(\S+ -> \S+):\s+(.+)$", messages.__doc__ or "", re.MULTILINE):
        for name in names.split(", "):
            found[name] = "both directions" if name in found else direction
    return found


def field_row(kind: type[Message], field: str) -> str:
    """Return the row of a message's field: its name, its bounds, and what the comment beside it says."""
    return f"| `{field}` | {messages.bounds(kind)[field].describe()} | {_comments(kind).get(field, '')} |"


def message_tables() -> str:
    """Return a heading, the purpose, and the table of fields of every message."""
    return "\n".join(_message_lines())


def _message_lines() -> Iterator[str]:
    direction = directions()
    for name, kind in messages.kinds().items():
        yield f"### `{name}`"
        yield f"{direction[name].capitalize() if name in ('hello', 'heartbeat') else direction[name]}. {_purpose(kind)}"
        yield ""
        if not messages.bounds(kind):
            yield "No fields."
            yield ""
            continue
        yield "| field | bounds | |"
        yield "|---|---|---|"
        for field in messages.bounds(kind):
            yield field_row(kind, field)
        yield ""


def value_table(values: type[Enum]) -> str:
    """Return the table of an enum's values, with what the comments beside them say."""
    comments = _comments(values)
    rows = [f"| `{member.value}` | {comments.get(member.name, '')} |" for member in values]
    return "\n".join(["| value | |", "|---|---|", *rows])


def limit_table() -> str:
    """Return the table of the limits that hold whatever the configuration says."""
    rows = {
        "bytes before `hello`, of login scripts": channel.MOST_NOISE_BYTES,
        "bytes of a line": channel.SHORT_LINE_BYTES,
        "bytes of a line of a kind that carries hashes, after `hello`": messages.LONGEST_LINE_BYTES,
        "messages that have come and wait to be looked at": channel.MOST_UNDELIVERED,
        "heartbeats at once": channel.HEARTBEAT_BURST,
        "heartbeats a second, over the session's age": f"{channel.HEARTBEATS_PER_SECOND:g}",
        "seconds for the token of a data connection": f"{pipe.TOKEN_SECONDS:g}",
    }
    return "\n".join(["| limit | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _purpose(kind: type[Message]) -> str:
    return " ".join((inspect.getdoc(kind) or "").split())


def _comments(described: type) -> dict[str, str]:
    """Return the comments behind the lines of a class's fields or members."""
    source = inspect.getsource(described)
    return dict(re.findall(r"^    (\w+)\b.*?  # (.+)$", source, re.MULTILINE))


def written(document: str) -> str:
    """Return the document with its tables written anew."""
    tables = {
        "messages": message_tables(),
        "phases": value_table(Phase),
        "refusals": value_table(Refusal),
        "failures": value_table(Failure),
        "limits": limit_table(),
    }
    for name, table in tables.items():
        begin, end = f"<!-- {name}: made by docs/protocol_tables.py -->\n", f"\n<!-- end of {name} -->"
        before, _, rest = document.partition(begin)
        _, _, after = rest.partition(end)
        document = f"{before}{begin}{table.strip()}{end}{after}"
    return document


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text()))
