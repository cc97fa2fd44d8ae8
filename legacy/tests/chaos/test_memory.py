"""Memory stays flat, whatever the size of the file."""

import subprocess
from pathlib import Path

import pytest

from legacy.synthetic.build import build
from legacy.tests.chaos.place import Site

pytestmark = pytest.mark.chaos

MOST = 300  # MB
STATUS = Path("/proc/self/status")
needs_proc = pytest.mark.skipif(not STATUS.exists(), reason="the peak of another process is read from /proc")


def peak_megabytes(process: subprocess.Popen[str]) -> float:
    """Watch a process to its end; return the most memory that it had in use."""
    peak = 0
    while True:
        try:
            process.communicate(timeout=0.05)
            return peak / 1024
        except subprocess.TimeoutExpired:
            status = Path(f"/proc/{process.pid}/status").read_text()
            found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
            peak = max(peak, *map(int, found)) if found else peak


@needs_proc
@pytest.mark.parametrize("dirty", [False, True], ids=["clean", "dirty"])
def test_an_import_of_100_megabytes(site: Site, dirty: bool) -> None:
    large = Site(site.server, site.path.with_name("large.db"), site.scratch)
    build(large.path, leads=13_000, dirty=dirty)
    assert large.path.stat().st_size > 95e6
    site.empty()
    peaks = {}
    for name, *arguments in (
        ("first run", "migrate_from_sqlite", "--no-input"),
        ("second run", "migrate_from_sqlite", "--no-input"),
        ("verification", "verify_import"),
    ):
        process = large.start(*arguments, str(large.path))
        peaks[name] = round(peak_megabytes(process))
        assert process.returncode in (0, 3)
    print(f"\npeak of resident memory in MB: {peaks}")
    assert max(peaks.values()) < MOST
