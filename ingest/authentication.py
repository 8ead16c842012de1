"""Who may post: BASIC, a key in the body, or Bearer. Several secrets are valid at once, so that they can be changed."""

import binascii
import hmac
from base64 import b64decode
from collections.abc import Sequence

from pydantic import SecretStr

from ingest.settings import SourceSettings

REALM = 'realm="todoke"'


class Gate:
    """The secrets of one source. A post passes that shows any one of them; without any secret everybody passes."""

    def __init__(self, source: SourceSettings) -> None:
        self._is_open = source.is_open
        self._basic = _bytes(source.basic)
        self._bearer = _bytes(source.bearer_tokens)
        self._keys = _bytes(source.api_keys)

    @property
    def takes_keys(self) -> bool:
        """Tell whether a key in the body would let a post in, so that the body must be read before it is known."""
        return bool(self._keys)

    def passes_header(self, authorization: str | None) -> bool:
        """Tell whether the value of the header ``Authorization`` lets a post in (RFC 7617, RFC 6750)."""
        if self._is_open:
            return True
        scheme, _, given = (authorization or "").partition(" ")
        match scheme.lower():
            case "basic":
                return _is_among(_decoded(given.strip()), self._basic)
            case "bearer":
                return _is_among(_encoded(given.strip()), self._bearer)
            case _:
                return False

    def passes_key(self, api_key: str | None) -> bool:
        """Tell whether the ``api_key`` of a body lets its post in."""
        return api_key is not None and _is_among(_encoded(api_key), self._keys)

    def expected(self, *, in_body: bool) -> str:
        """Say in words what a post may show; nothing if there is no way for it.

        Args:
            in_body: whether a key in the body would be looked at.
        """
        ways = (
            (self._basic, "the header Authorization: Basic with one of its `basic`"),
            (self._bearer, "the header Authorization: Bearer with one of its `bearer_tokens`"),
            (self._keys if in_body else (), "api_key in the body with one of its `api_keys`"),
        )
        return ", or ".join(way for secrets, way in ways if secrets)

    @property
    def challenge(self) -> str:
        """Give the value of ``WWW-Authenticate`` (RFC 9110, section 11.6.1): what this source could be shown."""
        kinds = (
            (self._basic, f'Basic {REALM}, charset="UTF-8"'),
            (self._bearer, f"Bearer {REALM}"),
            (self._keys, f'ApiKey {REALM}, in="body", name="api_key"'),
        )
        return ", ".join(challenge for secrets, challenge in kinds if secrets)


def _is_among(given: bytes, secrets: Sequence[bytes]) -> bool:
    """Compare with every secret, in a time that tells neither which one it was nor how much of it was right."""
    return any([hmac.compare_digest(given, secret) for secret in secrets])  # noqa: C419 - a generator would stop early


def _bytes(secrets: Sequence[SecretStr]) -> tuple[bytes, ...]:
    return tuple(_encoded(secret.get_secret_value()) for secret in secrets)


def _encoded(text: str) -> bytes:
    # aiohttp hands over the bytes of a header that are no UTF-8 as lone surrogates.
    return text.encode("utf-8", "surrogatepass")


def _decoded(credentials: str) -> bytes:
    try:
        return b64decode(credentials, validate=True)
    except (binascii.Error, ValueError):
        return b""
