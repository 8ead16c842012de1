"""Whether a broker counts as alive, from the lines of Kafka 4.3's controller."""

from pathlib import Path

import pytest

from deploy.embedded.kafka.fencing import takes_none_for_alive

REPLAYED = "2026-11-27T22:10:08.132Z INFO  o.a.k.c.ClusterControlManager [QuorumController id=1] Replayed "
BEGAN = REPLAYED + (
    "RegisterBrokerRecord establishing a new incarnation of broker 1: RegisterBrokerRecord(brokerId=1,"
    " isMigratingZkBroker=false, brokerEpoch=5, endPoints=[], features=[], rack=null, fenced={},"
    " inControlledShutdown=false, logDirs=[])"
)
CHANGED = REPLAYED + (
    "BrokerRegistrationChangeRecord modifying the registration for broker 1: BrokerRegistrationChangeRecord(brokerId=1,"
    " brokerEpoch=5, fenced={}, inControlledShutdown=0, logDirs=[], cordonedLogDirs=null)"
)
ACTIVE = (
    "2026-11-27T22:10:08.715Z INFO  o.a.k.c.QuorumController [QuorumController id=1] Becoming the active controller at"
)

STARTED = "2026-11-27T22:10:09.015Z INFO  o.a.k.s.KafkaRaftServer [KafkaRaftServer nodeId=1] Kafka Server started"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], False),
        ([BEGAN.format("true"), CHANGED.format(1)], False),  # it has not read all of it yet
        ([ACTIVE], True),  # there never was one
        ([BEGAN.format("true"), ACTIVE], True),
        ([BEGAN.format("false"), ACTIVE], False),  # as a snapshot tells it
        ([BEGAN.format("true"), CHANGED.format(-1), CHANGED.format(0), ACTIVE], False),
        ([BEGAN.format("true"), CHANGED.format(-1), ACTIVE, CHANGED.format(1)], True),
        ([CHANGED.format(-1), REPLAYED + "UnregisterBrokerRecord(brokerId=1, brokerEpoch=5)", ACTIVE], True),
        ([CHANGED.format(1), BEGAN.format("true"), CHANGED.format(-1), ACTIVE], False),
    ],
)
def test_tells_whether_a_broker_counts_as_alive(tmp_path: Path, lines: list[str], *, expected: bool) -> None:
    log = tmp_path / "controller.log"
    log.write_text("\n".join(lines))
    assert not takes_none_for_alive(log), "it has not started yet"

    log.write_text("\n".join([*lines, STARTED]))
    assert takes_none_for_alive(log) is expected


def test_a_log_that_is_not_there_tells_nothing(tmp_path: Path) -> None:
    assert not takes_none_for_alive(tmp_path / "controller.log")
