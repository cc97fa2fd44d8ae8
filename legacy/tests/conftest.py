"""Legacy files for tests."""

import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from legacy.schema import create_schema
from legacy.synthetic.build import build

SMALL_FILE = """
INSERT INTO partners VALUES
    (1, 'Acme', 'key-of-acme-0123456789', 1, 60, '2025-01-01 08:00:00', '2025-01-01 08:00:00'),
    (2, 'Bolt', 'key-of-bolt-0123456789', 0, 90, '2025-01-01 08:00:00', '2025-01-01 08:00:00');
INSERT INTO leads (id, name, phone, country_code, partner_id, status, created_at, updated_at) VALUES
    (1, 'Anna', '+14155550101', '+1', 1, 'PENDING', '2025-02-01 08:00:00', '2025-02-01 08:00:00'),
    (2, 'Ben', '+14155550102', '+1', 1, 'CONTACTED', '2025-02-01 08:00:01', '2025-02-01 08:00:01'),
    (3, 'Cleo', '+14155550103', '+1', NULL, 'FAILED', '2025-02-01 08:00:02', '2025-02-01 08:00:02'),
    (4, 'Dora', '+14155550104', '+1', NULL, 'QUEUED', '2025-02-01 08:00:03', '2025-02-01 08:00:03');
INSERT INTO calls VALUES
    (1, 1, 'CA1', NULL, 'Hello', NULL, 30.5, 'en', NULL, NULL, 'BUSY',
     '2025-03-01 09:00:00', '2025-03-01 09:01:00', '2025-03-01 09:00:00'),
    (2, 2, 'CA2', NULL, NULL, NULL, 12.25, 'en', NULL, NULL, 'INTERESTED',
     '2025-03-02 09:00:00', '2025-03-02 09:01:00', '2025-03-02 09:00:00'),
    (3, 2, 'CA3', NULL, NULL, NULL, NULL, 'en', NULL, NULL, NULL,
     '2025-03-03 09:00:00', NULL, '2025-03-03 09:00:00');
INSERT INTO conversation_history VALUES
    (10, 1, 'AI', 'Good morning', '2025-03-01 09:00:05'),
    (11, 1, 'USER', 'Hello', '2025-03-01 09:00:10'),
    (12, 1, 'AI', 'Bye', '2025-03-01 09:00:15'),
    (13, 2, 'AI', 'Good morning', '2025-03-02 09:00:05');
INSERT INTO meetings VALUES
    (1, 2, 2, '2025-04-01 10:00:00.000000', NULL, 'evt1', 30, NULL, NULL, 'SCHEDULED',
     '2025-03-02 09:01:00', '2025-03-02 09:01:00'),
    (2, 1, 1, '2025-04-01 11:00:00.000000', NULL, 'evt2', 30, NULL, NULL, 'CONFIRMED',
     '2025-03-02 09:01:00', '2025-03-02 09:01:00');
INSERT INTO settings VALUES
    (1, 'voice', 'Adam', '2025-01-01 08:00:00'),
    (2, 'limit', '5', '2025-01-01 08:00:00');
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A small file without a fault, its rows known by heart."""
    path = tmp_path / "ai_scheduler.db"
    with closing(sqlite3.connect(path)) as file:
        create_schema(file)
        file.executescript(SMALL_FILE)
    return path


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A synthetic file of twenty leads."""
    path = tmp_path / "built.db"
    build(path, leads=20)
    return path


@pytest.fixture
def tiny_disk() -> Iterator[Path]:
    """A disk of 64 KB, open to all."""
    folder = tempfile.mkdtemp(prefix="scheduler-disk-")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=777", "tmpfs", folder], capture_output=True, check=False
    )
    try:
        if mounted.returncode:
            pytest.skip("only root may mount a disk to fill")
        yield Path(folder)
        subprocess.run(["umount", "-l", folder], check=True)
    finally:
        Path(folder).rmdir()
