"""Stages for the worker."""

import pytest

from deploy.embedded.kafka import EmbeddedKafka
from tests.integration.streams.stage import Stage, stage_in


@pytest.fixture
async def stage(kafka: EmbeddedKafka, topic_prefix: str) -> Stage:
    """Topics with one shard."""
    stage = stage_in(kafka.bootstrap_servers, topic_prefix, shards=1)
    await stage.create()
    return stage


@pytest.fixture
async def wide_stage(kafka: EmbeddedKafka, topic_prefix: str) -> Stage:
    """Topics with four shards."""
    stage = stage_in(kafka.bootstrap_servers, topic_prefix, shards=4)
    await stage.create()
    return stage
