"""Does Kafka's controller take the broker for alive? Read from what it logs of the registrations that it knows.

There is one broker, so the last line about any of them decides.
"""

import re
from pathlib import Path

_ACTIVE = b"Becoming the active controller"
"""Logged once all that was written before has been read, and told of line by line."""
_STARTED = b"Kafka Server started"
"""Logged once it may be asked to end: in its start it would not always do so in order."""

_STATE = re.compile(
    rb"Replayed (?:UnregisterBrokerRecord"
    rb"|.*(?:RegisterBrokerRecord|BrokerRegistrationChangeRecord)\(.*\bfenced=(true|false|1|-1),)"
)
"""A registration as it began (a word), a change of it (1 fences the broker, -1 has it serve; 0 changes nothing), or its
end. Were Kafka to word that otherwise, no broker would ever seem alive: `test_no_broker_begins_where_…` would tell."""


def takes_none_for_alive(log: Path) -> bool:
    """Tell whether the controller has started, and takes no broker for alive."""
    said = log.read_bytes() if log.exists() else b""
    if _ACTIVE not in said or _STARTED not in said:
        return False
    states = _STATE.findall(said)
    return not states or states[-1] in (b"", b"true", b"1")
