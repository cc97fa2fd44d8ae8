"""Hit one key from many threads of a process of its own: `hammer.py <redis url or ""> <limit> <threads> <hits>`.

Prints how many hits were allowed.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

from django.db import connection

from scheduler.rest.limit_redis import RedisTicks
from scheduler.rest.limit_storages import PostgresStorage

redis_url, limit, threads, hits = sys.argv[1], *map(int, sys.argv[2:5])
storage = RedisTicks(redis_url, 10, 10) if redis_url else PostgresStorage()


def allowed_of_one_thread(_: int) -> int:
    allowed = sum(storage.take("hammered", limit, 3600).allowed for _ in range(hits))
    connection.close()
    return allowed


with ThreadPoolExecutor(threads) as pool:
    print(sum(pool.map(allowed_of_one_thread, range(threads))))
