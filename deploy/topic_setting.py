"""One setting of topics that exist, changed without touching the others.

aiokafka only knows the request that replaces all settings of a topic, which would take back what others have set.
"""

from collections.abc import Collection
from typing import Any, ClassVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int8, Int16, Int32, Schema, String

_KEY = 44
_SET = 0


class _Altered(Response):
    API_KEY = _KEY
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "resources",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
            ),
        ),
    )


class _AlterStruct(RequestStruct):
    API_KEY = _KEY
    API_VERSION = 0
    RESPONSE_TYPE = _Altered
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                (
                    "configs",
                    Array(("name", String("utf-8")), ("operation", Int8), ("value", String("utf-8"))),
                ),
            ),
        ),
        ("validate_only", Boolean),
    )


class _Alter(Request[_AlterStruct]):
    """IncrementalAlterConfigs (https://kafka.apache.org/protocol#The_Messages_IncrementalAlterConfigs), version 0."""

    API_KEY: ClassVar[int] = _KEY

    def __init__(self, topics: Collection[str], key: str, value: str) -> None:
        self._resources = [(ConfigResourceType.TOPIC, topic, [(key, _SET, value)]) for topic in topics]

    def build(self, request_struct_class: type[_AlterStruct]) -> _AlterStruct:
        return request_struct_class(self._resources, False)  # noqa: FBT003 - structs of aiokafka take no names


async def set_on_topics(client: AIOKafkaAdminClient, topics: Collection[str], key: str, value: str) -> frozenset[str]:
    """Set one key of topics; tell which of them took it: Kafka may refuse it, as to somebody who may not.

    Raises:
        KafkaError: no answer, or a Kafka older than 2.3.
    """
    response: Any = await client._send_request(_Alter(topics, key, value))  # noqa: SLF001 - the way of its own requests
    return frozenset(name for code, _message, _kind, name in response.resources if code == 0)
