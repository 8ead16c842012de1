"""Ports on this machine: which are taken, and which may be picked."""

import errno
import random
import socket
from collections.abc import Collection

from streams.contracts.errors import ConfigurationError

LOWEST, HIGHEST = 20_000, 32_000
"""Ports are picked from here: below the range that Linux (from 32768) and macOS (from 49152) give to outgoing
connections, so that none of those can take a picked port before the process that it was picked for does."""
TRIES = 200
LOOPBACK = "127.0.0.1"
_REACHED = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - compared, not bound


def reachable(host: str) -> str:
    """Tell where a server that listens on a host is reached from this machine."""
    return _REACHED.get(host, host)


def http_url(host: str, port: int) -> str:
    """Give the URL of a server; an IPv6 address stands in brackets there (RFC 3986, section 3.2.2)."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def free_port(host: str = "127.0.0.1", *, besides: Collection[int] = ()) -> int:
    """Pick a port that nobody listens on.

    Args:
        host: where one will listen.
        besides: ports that are meant for others, who do not listen on them yet.

    Raises:
        ConfigurationError: none was found.
    """
    for _ in range(TRIES):
        port = random.randint(LOWEST, HIGHEST)  # noqa: S311 - any port will do, guessing it harms nobody
        if port not in besides and is_free(host, port):
            return port
    raise ConfigurationError(f"no free port between {LOWEST} and {HIGHEST} on {host}: name one instead of 0")


def is_free(host: str, port: int) -> bool:
    """Tell whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do, so that connections of the one before, which linger for a minute, do not count as use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise ConfigurationError(f"cannot listen on {host}: {error.strerror}; choose another address") from error
    return True


def chosen_port(host: str, wanted: int, *, purpose: str, flag: str, besides: Collection[int] = ()) -> int:
    """Take the port that was asked for, or pick one for 0.

    Args:
        host: where one will listen.
        wanted: the port, or 0.
        purpose: what it is for, in words.
        flag: the option that names it.
        besides: ports that are not picked, since they are meant for others who do not listen on them yet.

    Raises:
        ConfigurationError: it is in use.
    """
    if wanted == 0:
        return free_port(host, besides=besides)
    if not is_free(host, wanted):
        raise ConfigurationError(
            f"port {wanted} on {host}, wanted for {purpose}, is in use by another program (or needs more rights): stop "
            f"that program, or choose another port with {flag} PORT ({flag} 0 picks a free one)"
        )
    return wanted
