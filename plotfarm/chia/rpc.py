"""Asking a service of Chia's: its RPC is HTTPS with a client certificate.

Each service's own certificate is signed by Chia's private authority and names no host of the farm, so it is checked
against that authority and the name is not.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from plotfarm.base.text import one_line
from plotfarm.chia.farm_log import Unreadable

_MOST_BYTES = 16 * 2**20  # of one answer

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class ServiceAddress:
    """Where a service answers, and to whom; `authority`: the certificate that signed its own."""

    host: str
    port: int
    certificate: Path
    key: Path
    authority: Path
    timeout_seconds: float = 10.0  # for all questions together


@dataclass(frozen=True)
class Remedies:
    """What to do if a service cannot be asked."""

    refused: str  # it answers, but not as it should
    silent: str  # it does not answer
    certificate: str  # it cannot be read, or is not taken


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

    def ask(self, what: str, parameters: Mapping[str, object], most_bytes: int = _MOST_BYTES) -> dict[str, Any]:
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
                if len(data) > most_bytes:
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


def answered(
    address: ServiceAddress, questions: Callable[[Connection], Answer], remedies: Remedies
) -> Answer | Unreadable:
    """Return what the questions to a service find out, or why nothing."""
    try:
        return questions(Connection(address))
    except Refused as error:
        return Unreadable(str(error), remedies.refused)
    except ssl.SSLError as error:
        return Unreadable(
            f"no encrypted connection with it: {one_line(error.reason or 'refused')}", remedies.certificate
        )
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            return Unreadable(f"{error.filename or 'the certificate'}: {error.strerror}", remedies.certificate)
        return Unreadable(f"{address.host}:{address.port} cannot be asked: {_reason(error)}", remedies.silent)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return one_line((error.strerror if isinstance(error, OSError) else None) or type(error).__name__)


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
