# SPDX-License-Identifier: GPL-2.0-or-later
"""One mount on trial: its loads, its kills, what was seen meanwhile, and the end of all of it."""

import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import sys
import tempfile
import time

from host import Host, mounts, run, wait_until
from kills import (Loads, ask, assert_locked, children_of, generation, is_there, kill,
                   next_generation, processes_of, state_of, within)
from zramfs import MIB, Zramfs

PREFIX = "zramfs-soak-"

# What the kernel says of a block device, or of a filesystem on it, that did not get its answer.
COMPLAINTS = re.compile(r"error|warning|fail|lost|corrupt|hung|blocked for more", re.IGNORECASE)


class Failed(Exception):
    """Something that must not happen under kills happened. The part is over."""


def uptime():
    return float(pathlib.Path("/proc/uptime").read_text().split()[0])


def kernel_log(since):
    """Lines of the kernel's log from a time on, in seconds since boot."""
    found = []
    for line in run("dmesg", check=False).stdout.splitlines():
        stamp = re.match(r"\[\s*(\d+\.\d+)\]", line)
        if stamp and float(stamp[1]) >= since:
            found.append(line)
    return found


def json_of(mount):
    return json.loads(ask(mount, ".stats.json"))


class Progress:
    """One line that stays in place, on a terminal."""

    def __init__(self):
        self.shown = sys.stderr.isatty()

    def say(self, text=""):
        if self.shown:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{text[:width]}", end="", file=sys.stderr, flush=True)


class Stand:
    """A mount, and all that a part sets up on it. Use with `with`: the end undoes everything."""

    def __init__(self, name, options, config="[defaults]\n", prefix=(), binary=None):
        self.name, self.options = name, options
        self.place = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX))
        self.place.chmod(0o755)
        self.machine = Host(self.place)
        self.mount = Zramfs(self.place, config, prefix=prefix)
        if binary is not None:
            self.mount.args[len(prefix)] = str(binary)
        self.loads, self.ready_ms = Loads(self.place), []
        self.n_kills = self.n_upgrades = self.n_looks = 0
        self.chance = random.Random(options.seed)
        self.began = uptime()
        self.notes, self.last_evidence, self.gaps = [], [], None
        self.memory_before = None
        options.stands.append(self)

    # Beginning and end

    def __enter__(self):
        try:
            self.mount.start()
            self.memory_before = self.total()["store_memory"]
        except BaseException:
            self._force()
            raise
        return self

    def __exit__(self, kind, error, trace):
        try:
            if kind is None:
                self._end_in_order()
        except BaseException:
            self.last_evidence = self.evidence()
            raise
        finally:
            if kind is not None:
                self.last_evidence = self.evidence()
            self._force()

    def _end_in_order(self):
        pids = {self.mount.process.pid}
        if self.options.has_keeper:
            pids |= processes_of(self.mount)
        self.machine.undo()
        self.mount.stop()
        left = [pid for pid in pids if is_there(pid)]
        if left:
            raise Failed(f"processes {left} are left")

    def _force(self):
        """Whatever is still there goes, in an order in which nothing waits for what is gone."""
        for load in self.loads.running:
            if load.process.poll() is None:
                load.process.kill()
        with contextlib.suppress(Exception):
            within(60, self.machine.undo)
        for point in mounts():  # a filesystem that is still busy, on a mount that is about to go
            if point.startswith(f"{self.place}/") and point != str(self.mount.point):
                run("umount", "-l", point, check=False)
        pids = {pid for pid in self._all_processes() if pid != os.getpid()}
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(Exception):
            within(20, self.mount.force)
        self.loads.end()
        if str(self.mount.point) not in mounts():
            shutil.rmtree(self.place, ignore_errors=True)

    def _all_processes(self):
        """Without asking the mount, which may be what hangs."""
        found = set(self.mount.pids())
        for pid in list(found):
            found |= set(children_of(pid))
        return found

    # Loads

    def check(self):
        """All that runs still runs."""
        self.loads.check()
        if self.mount.process.poll() is not None:
            raise Failed(f"the daemon ended with status {self.mount.process.returncode}")

    # Kills

    def kills(self, times, pause=(0.005, 0.120), bursts=0.15, between=None, looks=10):
        """Kill the worker so often, each time one that was ready. Return: when, in ns."""
        killed = []
        if not self.options.has_keeper:
            self._wait(2)
            return killed
        for number in range(times):
            if self.chance.random() >= bursts:
                self._wait(self.chance.uniform(*pause))
            self.check()
            served, at_ns = kill(self.mount)
            after = next_generation(self.mount, served)
            self.ready_ms.append((time.monotonic_ns() - at_ns) / 1e6)
            self.n_kills += 1
            killed.append(at_ns)
            if looks and number % looks == 0:
                self.look(after)
            if between is not None:
                between(number)
            self.options.progress.say(f"{self.name}: {number + 1} of {times} kills, "
                                      f"ready again after {self.ready_ms[-1]:.0f} ms")
        self._wait(0.2)
        self.check()
        return killed

    def _wait(self, seconds):
        time.sleep(seconds)

    def look(self, served=None):
        """Is all of the store locked? As root, or nobody may see it."""
        if os.geteuid() != 0 or not self.options.has_keeper:
            return
        try:
            assert_locked((served or generation(self.mount)).pid)
        except (FileNotFoundError, ProcessLookupError, StopIteration):
            raise Failed(f"{served} is gone, and nobody killed it") from None
        self.n_looks += 1

    # What the daemon says

    def total(self):
        return json_of(self.mount)["total"]

    def explained(self, constant=4 * MIB):
        """Memory of the store is what disks use, what is kept and what is free: bytes over that."""
        stats = json_of(self.mount)
        used = sum(disk["mem_used_total"] for disk in stats["disks"])
        total = stats["total"]
        return (total["store_memory"] - used - total["reserve"] - total["fragmentation"] - constant)

    def check_explained(self):
        """The sums are of different moments while it grows: one look is enough."""
        for _ in range(20):
            over = self.explained()
            if over <= 0:
                return
            time.sleep(0.05)
        raise Failed(f"{over} bytes of the store are of no disk, no reserve and not free")

    def check_nothing_leaks(self, most=2 * MIB):
        """With all disks gone, memory is what it was at the start."""
        for path in self.mount.point.iterdir():
            if not path.name.startswith("."):
                within(60, path.unlink)

        def returned():
            return self.total()["store_memory"] - self.memory_before <= most

        try:
            wait_until(returned, timeout=15, what="memory to come back", step=0.1)
        except AssertionError:
            total = self.total()
            raise Failed(f"with no disk the store has {total['store_memory'] / MIB:.1f} MiB, "
                         f"{self.memory_before / MIB:.1f} at the start: {total}") from None
        return self.total()["store_memory"] - self.memory_before

    def check_kernel_log(self, *words):
        """Nothing that the kernel complains of on what is named so."""
        wrong = [line for line in kernel_log(self.began)
                 if COMPLAINTS.search(line) and any(word in line for word in words)]
        if wrong:
            raise Failed("the kernel says: " + "; ".join(wrong[:5]))

    def evidence(self):
        """What may say why: the daemon's last lines, the kernel's, where processes wait."""
        lines = [f"zramfs: {line}" for line in self.mount.said().splitlines()[-12:]]
        lines += [f"kernel: {line}" for line in kernel_log(self.began)[-20:]]
        for load in self.loads.running:
            with contextlib.suppress(OSError):
                for task in pathlib.Path("/proc", str(load.process.pid), "task").iterdir():
                    stack = [word.split()[-1].split("+")[0] for word
                             in (task / "stack").read_text().splitlines()[:4]]
                    lines.append(f"{load.name}, thread {task.name}: {' < '.join(stack)}")
        for pid in sorted(self._all_processes()):
            with contextlib.suppress(OSError):
                process = pathlib.Path("/proc", str(pid))
                lines.append(f"process {pid}: {(process / 'comm').read_text().strip()}, "
                             f"{(process / 'wchan').read_text().strip()}, {state_of(process)}")
        return lines
