import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict

from database import metric_files
from database.metric_files import FolderBusy, MetricsFolder
from database.processes import alive
from database.testing import wait_until

WRITER = """
import sys
from prometheus_client import Counter, Gauge, Histogram
calls = Counter("calls", "Calls.", ["kind"])
wait = Histogram("wait", "Wait.", buckets=(1, 10))
pool = Gauge("pool", "Pool.", multiprocess_mode="liveall")
lag = Gauge("lag", "Lag.", multiprocess_mode="livemostrecent")
for _ in range(int(sys.argv[1])):
    calls.labels("a").inc()
    wait.observe(5)
pool.set(7)
lag.set(3)
print("written", flush=True)
for line in sys.stdin:
    calls.labels("a").inc()
    print("more", flush=True)
"""


class Writer:
    """A process that has counted to `count` and goes on when told."""

    def __init__(self, folder: Path, count: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(count)],
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for_its_word(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline()

    def count_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.wait_for_its_word()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def writers(tmp_path) -> Iterator[list[Writer]]:
    started = [Writer(tmp_path, count) for count in (10, 200, 3000)]
    for writer in started:
        writer.wait_for_its_word()
    yield started
    for writer in started:
        if writer.process.poll() is None:
            writer.kill()


def samples(folder: Path, name: str) -> dict[str, float]:
    """Return the values of one series, by its only label or by process."""
    return {
        next((value for label, value in sorted(sample.labels.items()) if label != "kind"), ""): sample.value
        for metric in MetricsFolder(folder).collect()
        for sample in metric.samples
        if sample.name == name
    }


def test_processes_are_added_up_and_each_has_its_gauge(tmp_path, writers):
    assert samples(tmp_path, "calls_total") == {"": 3210}
    assert samples(tmp_path, "wait_bucket") == {"1.0": 0, "10.0": 3210, "+Inf": 3210}
    assert samples(tmp_path, "wait_sum") == {"": 5 * 3210}
    assert samples(tmp_path, "pool") == {str(writer.pid): 7 for writer in writers}


def test_a_killed_process_leaves_its_counts_and_takes_its_gauges(tmp_path, writers):
    writers[1].kill()
    for _ in range(3):
        assert samples(tmp_path, "calls_total") == {"": 3210}
    assert set(samples(tmp_path, "pool")) == {str(writers[0].pid), str(writers[2].pid)}

    writers[0].count_on()
    writers[2].kill()

    assert samples(tmp_path, "calls_total") == {"": 3211}
    assert samples(tmp_path, "wait_bucket") == {"1.0": 0, "10.0": 3210, "+Inf": 3210}
    assert set(samples(tmp_path, "pool")) == {str(writers[0].pid)}
    writers[0].kill()
    assert samples(tmp_path, "calls_total") == {"": 3211}
    assert samples(tmp_path, "pool") == samples(tmp_path, "lag") == {}


def dead_process(folder: Path, pid: int, count: int) -> None:
    """Write what a process that is gone would have left."""
    for kind, name in (("counter", "calls_total"), ("gauge_liveall", "pool")):
        store = MmapedDict(str(folder / f"{kind}_{pid}.db"))
        store.write_value(f'["{name}", "{name}", {{}}, "Help."]', count, 0.0)
        store.close()


def unused_pids() -> Iterator[int]:
    return (pid for pid in itertools.count(4_000_000) if not alive(pid))


def test_short_commands_do_not_fill_the_folder_though_nobody_scrapes(tmp_path):
    for pid in itertools.islice(unused_pids(), 450):
        dead_process(tmp_path, pid, 2)
        MetricsFolder(tmp_path).sweep_if_crowded()

    assert len(list(tmp_path.rglob("*"))) <= metric_files.CROWDED + 5
    assert samples(tmp_path, "calls_total") == {"": 900}
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["lock"]


def test_a_crash_at_any_step_of_folding_loses_nothing_and_counts_nothing_twice(tmp_path, monkeypatch):
    total = 0.0
    pids = unused_pids()
    crashes = 0
    while True:
        for count in (1, 20, 300):
            dead_process(tmp_path, next(pids), count)
            total += count
        status = fold_in_a_child_that_dies_at_step(tmp_path, crashes + 1)
        assert samples(tmp_path, "calls_total") == {"": total}
        if status == 0:
            break
        crashes += 1

    assert crashes > 15  # a grave for each, totals, their rename and all removals
    assert len(list(tmp_path.rglob("*.db"))) == 1


def fold_in_a_child_that_dies_at_step(folder: Path, step: int) -> int:
    """Return the status of the child: 0 when it came to the end before the step."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    steps = itertools.count(1)

    def dying(function):
        def call(*arguments, **options):
            if next(steps) == step:
                os._exit(9)
            return function(*arguments, **options)

        return call

    for owner, names in ((Path, ("rename", "mkdir", "unlink")), (MmapedDict, ("write_value", "close"))):
        for name in names:
            setattr(owner, name, dying(getattr(owner, name)))
    shutil.rmtree = dying(shutil.rmtree)
    os.unlink = dying(os.unlink)
    try:
        MetricsFolder(folder).collect()
    finally:
        os._exit(0)


def test_a_process_that_takes_the_number_of_a_dead_one_keeps_counting(tmp_path, monkeypatch):
    pid = next(unused_pids())
    dead_process(tmp_path, pid, 5)
    (tmp_path / f"gauge_liveall_{pid}.db").unlink()
    # Dead at the first look, alive at the second: it was started in between and has opened the file.
    looks = iter([False, True])
    monkeypatch.setattr(metric_files, "alive", lambda number: next(looks, True))

    assert samples(tmp_path, "calls_total") == {"": 5}

    assert (tmp_path / f"counter_{pid}.db").exists()


def test_scrapes_at_once_all_see_everything(tmp_path, writers):
    for pid in itertools.islice(unused_pids(), 50):
        dead_process(tmp_path, pid, 1)
    writers[0].kill()

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: scrape_again_when_busy(tmp_path), range(12)))

    # The same name with other labels: "kind" of the writers, none of the dead.
    assert {frozenset(each) for each in found} == {frozenset({3210.0, 50.0})}


def scrape_again_when_busy(folder: Path) -> list[float]:
    while True:
        try:
            metrics = MetricsFolder(folder).collect()
        except FolderBusy:
            continue
        return [
            sample.value for metric in metrics for sample in metric.samples if sample.name == "calls_total"
        ]


def test_a_scrape_that_another_one_holds_up_gives_up(tmp_path):
    with open(tmp_path / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FolderBusy):
            MetricsFolder(tmp_path).collect()


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x00\x00" + b"\x07" * 60], ids=["empty", "nonsense"])
def test_a_broken_file_does_not_hide_the_others(tmp_path, content, caplog):
    dead_process(tmp_path, next(unused_pids()), 5)
    (tmp_path / f"counter_{os.getpid()}.db").write_bytes(content)

    assert samples(tmp_path, "calls_total") == {"": 5}
    assert "cannot be read" in caplog.text


def test_a_scrape_waits_for_nobody_who_is_only_writing(tmp_path, writers):
    for _ in range(20):
        writers[0].count_on()
        assert samples(tmp_path, "calls_total")

    wait_until(lambda: samples(tmp_path, "calls_total") == {"": 3230})
