"""How every role reaches Kafka."""

import ssl
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaConnection:
    """Addresses and credentials of one Kafka cluster."""

    bootstrap_servers: str = "127.0.0.1:9092"
    """Comma-separated ``host:port``."""

    security_protocol: str = "PLAINTEXT"
    """``PLAINTEXT``, ``SSL``, ``SASL_PLAINTEXT`` or ``SASL_SSL``."""

    sasl_mechanism: str = "PLAIN"
    """``PLAIN``, ``SCRAM-SHA-256`` or ``SCRAM-SHA-512``."""

    sasl_username: str | None = None

    sasl_password: str | None = field(default=None, repr=False)

    ssl_cafile: str | None = None
    """Certificates to trust instead of the system's, PEM."""

    def client_options(self) -> dict[str, Any]:
        """Give the connection as keyword arguments of any aiokafka client."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.security_protocol,
        }
        if "SSL" in self.security_protocol.split("_"):
            options["ssl_context"] = ssl.create_default_context(cafile=self.ssl_cafile)
        if self.security_protocol.startswith("SASL"):
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password,
            }
        return options
