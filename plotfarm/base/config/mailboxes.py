"""Mail addresses as people write them: `farmer@example.org` or `Jo Farmer <farmer@example.org>`, in any script.

One reading for the check of the configuration and for the sending: what the one accepts the other can use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FORM = re.compile(r'(?:(?P<name>"[^"<>]*"|[^"<>]+?)\s*<(?P<inner>[^<>]+)>|(?P<bare>[^<>]+))')
# What can stand before the @ as it is: RFC 5322 atext and dots, and beyond ASCII what RFC 6531 adds.
_LOCAL_ASCII = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+")
_DOMAIN = re.compile(r"[A-Za-z0-9.:\[\]-]+")


@dataclass(frozen=True)
class Mailbox:
    """One address; `domain` as mail servers write it, in ASCII."""

    local: str  # what stands before the @
    domain: str
    name: str = ""  # of whom it belongs to; "": not given

    @property
    def address(self) -> str:
        """The address as it is said to a mail server."""
        return f"{self.local}@{self.domain}"

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server can take it that knows SMTPUTF8 (RFC 6531)."""
        return not self.local.isascii()


def parse_mailbox(text: str) -> Mailbox:
    """Read one address, with or without a name; ValueError if it is none."""
    form = _FORM.fullmatch(text.strip())
    if form is None or not text.isprintable():
        raise ValueError(text)
    name = (form["name"] or "").strip().strip('"').strip()
    local, at, domain = (form["inner"] or form["bare"]).strip().rpartition("@")
    if not at or not _is_local(local):
        raise ValueError(text)
    return Mailbox(local, _in_ascii(domain), name)


def is_mailbox(text: str) -> bool:
    """Tell whether a text is an address, with or without a name."""
    try:
        parse_mailbox(text)
    except ValueError:
        return False
    return True


def _is_local(text: str) -> bool:
    visible = "".join("x" if not character.isascii() and not character.isspace() else character for character in text)
    return _LOCAL_ASCII.fullmatch(visible) is not None


def _in_ascii(domain: str) -> str:
    if domain.isascii():
        if not _DOMAIN.fullmatch(domain):
            raise ValueError(domain)
        return domain
    import idna  # for the few who need it

    # IDNA 2008, as registries have it: the older rules of Python's own codec lead some names to other hosts.
    return idna.encode(domain, uts46=True).decode()  # IDNAError is a ValueError
