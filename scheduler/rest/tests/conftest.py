from collections.abc import Iterator

import pytest

from scheduler.rest.tests.redis_server import RedisServer, redis_server


@pytest.fixture
def running_redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server
