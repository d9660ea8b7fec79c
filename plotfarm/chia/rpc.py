"""Asking a service of Chia's: its RPC is HTTPS with a client certificate.

Each service's own certificate is signed by Chia's private authority and names no host of the farm, so it is checked
against that authority and the name is not.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plotfarm.base.text import one_line

_MOST_BYTES = 16 * 2**20  # of one answer


@dataclass(frozen=True)
class ServiceAddress:
    """Where a service answers, and to whom; `authority`: the certificate that signed its own."""

    host: str
    port: int
    certificate: Path
    key: Path
    authority: Path
    timeout_seconds: float = 10.0  # for all questions together


class Refused(Exception):
    """The service did not answer as it should; the message says what it did."""


class Connection:
    """A way to ask a service, with one limit in time for all questions."""

    def __init__(self, address: ServiceAddress) -> None:
        self._address = address
        self._deadline = time.monotonic() + address.timeout_seconds
        for file in (address.certificate, address.key, address.authority):
            file.open("rb").close()  # its own error does not say which of them it is
        self._context = ssl.create_default_context(cafile=address.authority)
        self._context.check_hostname = False
        self._context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Chia's authority does not say what its key is for
        self._context.load_cert_chain(address.certificate, address.key)

    def ask(self, what: str, parameters: Mapping[str, object]) -> dict[str, Any]:
        """Return the answer to one question; Refused, OSError or HTTPException if there is none."""
        connection = http.client.HTTPSConnection(
            self._address.host, self._address.port, timeout=self._left(), context=self._context
        )
        try:
            connection.request("POST", f"/{what}", json.dumps(parameters), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            data = b""
            while piece := answer.read1(65536):
                data += piece
                if len(data) > _MOST_BYTES:
                    raise Refused(f"its answer to {what} has no end")
                self._left()
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise Refused(f"it answers {what} with status {answer.status}")
        return checked(what, data)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def checked(what: str, data: bytes) -> dict[str, Any]:
    """Return what an answer to the question `what` holds; Refused if it is none, or says that it failed."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        raise Refused(f"its answer to {what} is no JSON") from None
    if not isinstance(said, dict):
        raise Refused(f"its answer to {what} is none of Chia's")
    if said.get("success") is not True:
        raise Refused(f"it refuses {what}: {one_line(str(said.get('error', 'no reason given')))[:200]}")
    return said
