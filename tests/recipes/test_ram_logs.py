"""Logs in memory: the copy on the medium is whole, whatever happens to the memory."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from conftest import BINARY, PATH, RECIPES, leftovers, wait_until
from host import mounts, processes_with, run

pytestmark = [pytest.mark.loop, pytest.mark.needs("rsync", "mkfs.ext4")]

UNITS = RECIPES / "ram-logs.d"


class RamLogs:
    """The recipe on a directory of its own."""

    def __init__(self, place):
        self.logs, self.state = place / "log", place / "state"
        self.logs.mkdir()
        self.state.mkdir()
        self.own = self.state / str(self.logs).replace("/", "-")
        self.copy, self.z = self.own / "copy", self.own / "z"

    def __call__(self, verb, *options, status=0, env=None, **kwargs):
        done = run(RECIPES / "ram-logs", verb, "--logs", self.logs, "--state", self.state, *options,
                   check=False, env={"ZRAMFS_BIN": str(BINARY), **(env or {})}, **kwargs)
        assert done.returncode == status, f"status {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def in_memory(self):
        return str(self.logs) in mounts()

    def crash(self):
        """All of zramfs at once, as no kill of one process is: what it held is gone."""
        for pid in processes_with(self.z):
            os.kill(pid, signal.SIGSTOP)
        for pid in processes_with(self.z):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not processes_with(self.z), what="the daemon to be dead")

    def left(self):
        return [line for line in leftovers(self.state) if not line.endswith(".lock")] + [
            point for point in mounts() if point == str(self.logs)]


@pytest.fixture
def ram_logs(place):
    one = RamLogs(place)
    yield one
    try:
        if one.in_memory():
            one("stop")
        wait_until(lambda: not one.left(), what="nothing to be left")
    finally:
        for point in sorted((p for p in mounts() if p.startswith(f"{place}/")), reverse=True):
            run("umount", "-l", point)


def contents(directory):
    """{path: bytes, or where a link points}"""
    found = {}
    for top, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(top, name)
            found[os.path.relpath(path, directory)] = (
                os.readlink(path) if os.path.islink(path) else open(path, "rb").read())
    return found


def some_logs(directory, n_lines=20000):
    (directory / "app").mkdir()
    (directory / "syslog").write_text("".join(f"line {i} of a log\n" for i in range(n_lines)))
    (directory / "app/old.log.1").write_bytes(os.urandom(10000))
    (directory / "app/current").symlink_to("old.log.1")
    (directory / "app").chmod(0o2750)
    os.chown(directory / "app/old.log.1", 12, 34)


def test_the_whole_way(ram_logs):
    """Filled, written to, synced, stopped: owners, modes, links, removals and renames."""
    logs, copy = ram_logs.logs, ram_logs.copy
    some_logs(logs)
    before = contents(logs)
    ram_logs("start")
    assert ram_logs.in_memory() and contents(logs) == before
    assert (logs / "app").stat().st_mode & 0o7777 == 0o2750
    assert (logs / "app/old.log.1").stat().st_uid == 12

    with (logs / "syslog").open("a") as log:
        log.write("new\n")
    (logs / "app/old.log.1").rename(logs / "app/old.log.2")
    (logs / "app/current").unlink()
    assert contents(copy) == before  # nothing goes there by itself
    status = ram_logs("status").stdout
    data = float(re.search(r"the logs +([0-9.]+) MiB", status)[1])
    memory = float(re.search(r"memory for them +([0-9.]+) MiB", status)[1])
    assert 0.3 < data < 1 and 0 < memory < data
    after = contents(logs)
    ram_logs("sync")
    assert contents(copy) == after != before
    assert (copy / "app/old.log.2").stat().st_gid == 34

    (logs / "last").write_text("words")
    device = (ram_logs.own / "device").read_text().strip()
    queue = Path("/sys/block", os.path.basename(device), "queue/write_cache")
    assert queue.read_text() == "write through\n"
    ram_logs("stop")
    # Or who has it next goes without flushes. (Another may have it by now, and the same wishes.)
    assert queue.read_text() == "write back\n" or (queue.parents[1] / "loop").exists()
    assert not ram_logs.in_memory() and contents(logs) == {**after, "last": b"words"}
    assert sorted(os.listdir(logs)) == ["app", "last", "syslog"]


def test_twice(ram_logs):
    """Each verb, in each state, is safe."""
    some_logs(ram_logs.logs)
    assert "not in memory" in ram_logs("stop").stdout
    assert "not in memory" in ram_logs("sync", status=1).stderr
    assert "not in memory" in ram_logs("status", status=3).stdout
    ram_logs("start")
    (ram_logs.logs / "new").write_text("1")
    assert "already" in ram_logs("start").stdout
    assert (ram_logs.logs / "new").read_text() == "1"
    ram_logs("sync")
    ram_logs("sync")
    ram_logs("stop")
    ram_logs("stop")
    ram_logs("start")
    assert (ram_logs.logs / "new").read_text() == "1"


def test_a_crash_loses_what_came_since(ram_logs):
    logs = ram_logs.logs
    some_logs(logs)
    ram_logs("start")
    (logs / "synced").write_text("there")
    ram_logs("sync")
    synced = contents(logs)
    (logs / "syslog").write_text("after the sync\n")
    (logs / "app/old.log.1").unlink()
    ram_logs.crash()

    assert "could not be written" in ram_logs("sync", status=1).stderr
    assert contents(ram_logs.copy) == synced  # nothing was deleted that could not be read
    assert "the disk is gone" in ram_logs("status", status=1).stdout
    assert "the disk is gone" in ram_logs("stop", status=1).stderr
    assert contents(logs) == synced and not ram_logs.in_memory()

    ram_logs("start")
    (logs / "more").write_text("x")
    ram_logs.crash()
    ram_logs("start")  # by itself, as after Restart=
    assert contents(logs) == synced
    ram_logs("stop")
    assert contents(logs) == synced


@pytest.mark.parametrize("verb", ["stop", "start"])
def test_unmounted_by_somebody_else(ram_logs, verb):
    """As at a shutdown without our units: what was written is still there, and is copied."""
    some_logs(ram_logs.logs)
    ram_logs("start")
    (ram_logs.logs / "new").write_text("words")
    run("umount", ram_logs.logs)
    assert not (ram_logs.logs / "new").exists()
    ram_logs(verb)
    assert (ram_logs.logs / "new").read_text() == "words"


def test_a_start_that_was_broken_off(ram_logs):
    """What was not filled yet is not copied back over what it was filled from."""
    some_logs(ram_logs.logs)
    before = contents(ram_logs.logs)
    ram_logs("start")
    run("umount", ram_logs.logs)
    (ram_logs.own / "started").unlink()
    (ram_logs.own / "fs/syslog").unlink()
    ram_logs("stop")
    assert contents(ram_logs.logs) == before


def test_mounts_below_would_be_hidden(ram_logs):
    (ram_logs.logs / "audit").mkdir()
    run("mount", "-t", "tmpfs", "none", ram_logs.logs / "audit")
    try:
        assert "mounts below" in ram_logs("start", status=1).stderr
    finally:
        run("umount", ram_logs.logs / "audit")


def test_a_sync_that_is_broken_off_changes_nothing(ram_logs, place):
    """rsync is killed while it writes: the copy is as it was; the next sync is whole."""
    logs = ram_logs.logs
    some_logs(logs)
    ram_logs("start")
    before = contents(ram_logs.copy)
    for i in range(3):
        (logs / f"large{i}").write_bytes(os.urandom(3 << 20))
    (logs / "syslog").write_text("replaced\n")
    (place / "bin").mkdir()
    slow = place / "bin/rsync"
    slow.write_text(f'#!/bin/sh\nexec {shutil.which("rsync", path=PATH)} --bwlimit=2000 "$@"\n')
    slow.chmod(0o755)
    sync = subprocess.Popen([RECIPES / "ram-logs", "sync", "--logs", logs, "--state", ram_logs.state],
                            env={**os.environ, "PATH": f"{place}/bin:{PATH}",
                                 "ZRAMFS_BIN": str(BINARY)},
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            start_new_session=True)
    wait_until(lambda: any(path.stat().st_size > 1 << 20 for path in ram_logs.copy.rglob("*large*")),
               what="rsync to write")
    os.killpg(sync.pid, signal.SIGKILL)
    sync.wait()
    seen = contents(ram_logs.copy)
    assert {name: seen[name] for name in before} == before
    assert not any(name.startswith("large") for name in seen)
    ram_logs("sync")
    assert contents(ram_logs.copy) == contents(logs)


def test_full(ram_logs):
    """Who writes is told, and so is who looks; what is there is synced."""
    some_logs(ram_logs.logs)
    ram_logs("start", "--size", "16M")
    with pytest.raises(OSError, match="No space left"):
        with open(ram_logs.logs / "much", "wb", buffering=0) as log:
            for _ in range(32):
                assert log.write(os.urandom(1 << 20)) == 1 << 20
                os.fsync(log.fileno())
    done = ram_logs("sync")
    assert re.search(r"is \d+ % full: .*--size", done.stderr)
    assert " % full" in ram_logs("status").stderr
    assert contents(ram_logs.copy) == contents(ram_logs.logs)


def test_more_than_the_disk_holds(ram_logs):
    (ram_logs.logs / "much").write_bytes(os.urandom(20 << 20))
    done = ram_logs("start", "--size", "16M", status=1)
    assert "--size" in done.stderr and "20.0 MiB" in done.stderr and done.stderr.count("\n") == 1
    assert not ram_logs.in_memory() and (ram_logs.logs / "much").stat().st_size == 20 << 20
    wait_until(lambda: not ram_logs.left(), what="nothing to be left")


def test_a_medium_that_is_full(ram_logs, place):
    """The copy stays as it was, and the logs stay in memory."""
    run("mount", "-t", "tmpfs", "-o", "size=2M", "none", ram_logs.logs)
    try:
        some_logs(ram_logs.logs)
        before = contents(ram_logs.logs)
        ram_logs("start")
        (ram_logs.logs / "large").write_bytes(os.urandom(4 << 20))
        (ram_logs.logs / "syslog").unlink()
        for verb in ("sync", "stop"):
            assert "could not be written" in ram_logs(verb, status=1).stderr
            assert contents(ram_logs.copy) == before and ram_logs.in_memory()
        (ram_logs.logs / "large").unlink()
        ram_logs("stop")
        assert contents(ram_logs.logs).keys() == before.keys() - {"syslog"}
    finally:
        run("umount", ram_logs.logs)


def test_who_has_a_file_open_does_not_keep_it(ram_logs):
    """As a program that does not end at shutdown; what it had written is in the copy."""
    some_logs(ram_logs.logs)
    ram_logs("start")
    with (ram_logs.logs / "held").open("w") as held:
        held.write("words")
        held.flush()
        ram_logs("stop")
        assert (ram_logs.logs / "held").read_text() == "words" and not ram_logs.in_memory()
    wait_until(lambda: not ram_logs.left(), what="the daemon to end when it is closed")


def test_a_filesystem_of_their_own_stays(ram_logs):
    """A start that fails unmounts what it mounted, and not what logs are on."""
    run("mount", "-t", "tmpfs", "-o", "size=64M", "none", ram_logs.logs)
    try:
        (ram_logs.logs / "much").write_bytes(os.urandom(20 << 20))
        ram_logs("start", "--size", "16M", status=1)
        assert (ram_logs.logs / "much").stat().st_size == 20 << 20
        os.truncate(ram_logs.logs / "much", 1000)
        ram_logs("start", "--size", "16M")
        ram_logs("stop")
        assert mounts()[str(ram_logs.logs)][0] == "tmpfs"
        assert (ram_logs.logs / "much").stat().st_size == 1000
    finally:
        run("umount", ram_logs.logs)


def test_what_is_logged_below_is_not_lost(ram_logs):
    """Unmounted by somebody else, and logged to since: the medium has the newer lines."""
    some_logs(ram_logs.logs)
    ram_logs("start")
    (ram_logs.logs / "in-memory").write_text("words")
    run("umount", ram_logs.logs)
    (ram_logs.logs / "below").write_text("on the medium")
    (ram_logs.logs / "syslog").write_text("newer\n")
    ram_logs("stop")
    found = contents(ram_logs.logs)
    assert found["below"] == b"on the medium" and found["syslog"] == b"newer\n"
    assert found["in-memory"] == b"words"


@pytest.mark.parametrize("name", ["my logs 1", "back\\slash", "-dash"])
def test_odd_names(place, name):
    (place / name).mkdir()
    ram_logs = RamLogs(place / name)
    some_logs(ram_logs.logs)
    try:
        ram_logs("start")
        assert "in memory" in ram_logs("status").stdout
        (ram_logs.logs / "new").write_text("words")
        ram_logs("sync")
        ram_logs("stop")
        assert (ram_logs.logs / "new").read_text() == "words"
        assert (ram_logs.logs / "syslog").stat().st_size > 100000
        wait_until(lambda: not ram_logs.left(), what="nothing to be left")
    finally:
        for point in sorted((p for p in mounts() if p.startswith(f"{place}/")), reverse=True):
            run("umount", "-l", point)


def test_nobody_else_reaches_it(ram_logs):
    """Who owns a directory of logs must not reach the copy while root writes there, nor the lock."""
    ram_logs("start")
    assert ram_logs.own.stat().st_mode & 0o077 == 0
    lock = ram_logs.state / (ram_logs.own.name + ".lock")
    assert lock.stat().st_mode & 0o077 == 0
    assert ram_logs.logs.stat().st_mode & 0o055 == 0o055


def test_two_with_the_same_state(place):
    (place / "a").mkdir()
    first, second = RamLogs(place), RamLogs(place / "a")
    second.logs = place / "a-log"
    second.logs.mkdir()
    second.state = first.state
    first.logs = place / "a/log"
    try:
        first("start")
        for verb in ("start", "sync", "stop", "status"):
            assert f"is of {first.logs}" in second(verb, status=1).stderr
        assert first.in_memory() and not second.in_memory()
        first("stop")
        second("start")
        second("stop")
    finally:
        for point in sorted((p for p in mounts() if p.startswith(f"{place}/")), reverse=True):
            run("umount", "-l", point)


def test_refused(ram_logs, place):
    assert "a directory of logs is wanted" in ram_logs("start", "--logs", "/", status=1).stderr
    assert "no such directory" in ram_logs("start", "--logs", place / "nothing", status=1).stderr
    ram_logs("start", "--size", "much", status=1)
    assert not ram_logs.left()
    done = run(RECIPES / "ram-logs", check=False)
    assert done.returncode == 2 and "start, sync, stop or status" in done.stderr


def test_rsync_is_missing(recipe, ram_logs):
    path = recipe.path_without("rsync")
    done = ram_logs("start", status=77, env={"PATH": path})
    assert "apt-get install rsync" in done.stderr


@pytest.mark.needs("systemd-analyze")
def test_units(place):
    names = sorted(os.listdir(UNITS))
    assert names == ["ram-logs-sync.service", "ram-logs-sync.timer", "ram-logs.service"]
    for name in names:
        text = (UNITS / name).read_text()
        assert set(re.findall(r"^Exec\w+=(\S+)", text, re.M)) <= {"ram-logs", "-journalctl"}
        text = re.sub(r"(?m)^(Exec\w+)=ram-logs", rf"\1={RECIPES}/ram-logs", text)
        (place / name).write_text(text)
    done = run("systemd-analyze", "verify", "--man=no", *(place / name for name in names),
               check=False)
    assert done.stdout + done.stderr == ""
    # What the units say is what the recipe takes.
    text = (UNITS / "ram-logs.service").read_text()
    for what in ("z", "fs", "copy"):
        assert f"/run/ram-logs/-var-log/{what}" in text and "state=/run/ram-logs" in (
            RECIPES / "ram-logs").read_text()
    verbs = re.findall(r"Exec\w+=ram-logs (\w+)", "".join((UNITS / n).read_text() for n in names))
    assert sorted(verbs) == ["start", "stop", "sync", "sync"]
