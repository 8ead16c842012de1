"""Topics, and how Kafka is reached."""

import ssl

from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import DAY_MS, OUTBOX_LIMIT, topics


def test_every_topic_has_the_prefix_and_its_own_name() -> None:
    names = [topic.name for topic in topics("a.b.").all()]
    assert names == ["a.b.inbox", "a.b.outbox", "a.b.events", "a.b.lifecycles", "a.b.suppressions", "a.b.deadletter"]


def test_the_outbox_is_kept_longer_than_what_it_answers() -> None:
    described = topics(horizon_days=3)
    assert described.inbox.config["retention.ms"] == str(3 * DAY_MS)
    assert described.outbox.config["retention.ms"] == str(4 * DAY_MS)
    assert described.outbox.config["max.message.bytes"] == str(OUTBOX_LIMIT)


def test_a_plain_connection_has_no_credentials() -> None:
    assert KafkaConnection(bootstrap_servers="k:9092").client_options() == {
        "bootstrap_servers": "k:9092",
        "security_protocol": "PLAINTEXT",
    }


def test_credentials_and_certificates_come_with_their_protocol() -> None:
    options = KafkaConnection(
        security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-256", sasl_username="me", sasl_password="secret"
    ).client_options()
    assert isinstance(options.pop("ssl_context"), ssl.SSLContext)
    assert options["sasl_mechanism"] == "SCRAM-SHA-256"
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("me", "secret")


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(KafkaConnection(sasl_password="secret"))
