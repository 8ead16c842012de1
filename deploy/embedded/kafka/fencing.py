"""Does Kafka's controller take any broker for alive? Read from what it logs of the registrations that it knows."""

import re
from pathlib import Path

_ACTIVE = b"Becoming the active controller"
"""Logged once all that was written before has been read, and told of line by line."""

_STATE = re.compile(
    rb"Replayed .*(?:RegisterBrokerRecord|BrokerRegistrationChangeRecord)\(.*\bfenced=(true|false|1|-1),"
)
"""A registration as it began (a word), or a change of it: 1 fences the broker, -1 has it serve. 0 changes nothing."""


def has_fenced(log: Path) -> bool:
    """Tell whether the controller works, and no broker counts as alive."""
    said = log.read_bytes() if log.exists() else b""
    if _ACTIVE not in said:
        return False
    states = _STATE.findall(said)
    return not states or states[-1] in (b"true", b"1")
