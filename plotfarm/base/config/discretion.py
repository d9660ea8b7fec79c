"""What of a configuration may be repeated in a message: a mistake must never show a secret.

Messages of mistakes go to cron's mail, to logs and to terminals. A secret may stand where it does not belong: under a
misspelled key, below a damaged header, behind another value. So a value is shown only where it is harmless for certain:
a known key of a section without secrets, nothing damaged around it, and nothing in it that looks like a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import Field

from plotfarm.base.config.structure import Value, shown

NOT_SHOWN = "(not shown)"
Schema = Mapping[str, Mapping[str, Field[object]]]  # section -> key -> field of sections.py

_SECRET_WORD = re.compile(r"pass|pwd|token|secret|key|auth|credential|dsn|url|hook|services|login", re.IGNORECASE)
# user:password@host, and a word of letters and digits that is too long to be a name that anybody gave.
_USER_INFORMATION = re.compile(r":.*@")
_TOKEN = re.compile(r"(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{12,}|[A-Za-z0-9_+=-]{24,}")
_SHORT = 12  # characters: nobody needs to see more of what should be a number or a word
_SIMPLE_NAME = re.compile(r"[A-Za-z_]{1,40}")
_NEAR = 0.75


class Discretion:
    """Decides what is shown of the values and names of one file."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._keys = {key for keys in schema.values() for key in keys}
        fields = [(section, key, field) for section, keys in schema.items() for key, field in keys.items()]
        secrets = [(section, key) for section, key, field in fields if _is_secret(field)]
        self._closed = {section for section, _ in secrets}
        self._secret_keys = {key for _, key in secrets}

    def value(self, section: str, key: str, value: Value) -> str:
        """Return the text of a value as a message may show it."""
        return shown(value.text) if self.may_show(section, key, value) else NOT_SHOWN

    def may_show(self, section: str, key: str, value: Value) -> bool:
        """Tell whether a message may repeat a value, or pieces of it."""
        field = self._schema.get(section, {}).get(key)
        if field is None or value.is_in_doubt or section in self._closed or self._is_secret_key(key):
            return False
        is_free = str(field.type).startswith(("tuple", "Path", "str")) and "choices" not in field.metadata
        is_short = len(value.text) <= _SHORT or value.text.isdecimal()
        return (is_free or is_short) and "\n[" not in value.text and is_harmless(value.text)

    def name(self, name: str) -> str:
        """Return the name of a key or section as a message may show it: a secret that lost its key may stand there."""
        return shown(name) if self._is_known(name) else NOT_SHOWN

    def _is_known(self, name: str) -> bool:
        names = [*self._schema, *self._keys, "default"]
        if name.lower() in names:
            return True
        if not _SIMPLE_NAME.fullmatch(name):
            return False
        import difflib

        return bool(difflib.get_close_matches(name.lower(), names, n=1, cutoff=_NEAR))

    def _is_secret_key(self, key: str) -> bool:
        return key in self._secret_keys or _SECRET_WORD.search(key) is not None


def is_harmless(text: str) -> bool:
    """Tell whether nothing in a text looks like a secret, whatever it is."""
    return not any(pattern.search(text) for pattern in (_SECRET_WORD, _USER_INFORMATION, _TOKEN))


def _is_secret(field: Field[object]) -> bool:
    return "Secret" in str(field.type)
