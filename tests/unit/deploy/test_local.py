import pytest

from deploy.environment import read
from deploy.local import _check_addresses
from streams.contracts.errors import ConfigurationError

OWN = {"kafka.bootstrap_servers": "127.0.0.1:9092", "clickhouse.host": "127.0.0.1", "clickhouse.port": 8123}
KAFKA, HOST, PORT = "TODOKE_KAFKA__BOOTSTRAP_SERVERS", "TODOKE_CLICKHOUSE__HOST", "TODOKE_CLICKHOUSE__PORT"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {KAFKA: "localhost:9092", HOST: "localhost", PORT: "8123"},
        {KAFKA: "127.0.0.1:9092", HOST: "127.0.0.1", "TODOKE_CLICKHOUSE__USER": "todoke"},
        {"TODOKE_LOCAL__KAFKA_PORT": "0", "TODOKE_INGEST__PORT": "0"},
    ],
)
def test_what_leads_to_the_pipeline_itself_may_be_set(variables: dict[str, str]) -> None:
    _check_addresses(read(variables=variables), OWN)


@pytest.mark.parametrize("variables", [{KAFKA: "localhost:9093"}, {HOST: "localhost.example"}, {PORT: "8124"}])
def test_what_leads_elsewhere_may_not(variables: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="is of another Kafka or ClickHouse"):
        _check_addresses(read(variables=variables), OWN)
