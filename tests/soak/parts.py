# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of the soak: what runs, what happens to it, and what must be so at the end."""

import array
import bisect
import contextlib
import os
import pathlib
import shutil
import signal
import threading
import time

from host import Cgroup, run, wait_until
from kills import (generation, keeper, next_generation, store_memory, text_of, within)
from stand import Failed, Stand, json_of
from zramfs import BINARY, CTL, GIB, MIB, write_once

PAGE = 4096
DISK = "[disk0]\ndisksize = 512M\n"
SWAP = "[swap0]\ndisksize = 1G\nformat = swap\n"


class Skipped(Exception):
    """This machine cannot do it; why."""


def need_root():
    if os.geteuid() != 0:
        raise Skipped("needs root")
    if not os.path.exists("/dev/loop-control"):
        raise Skipped("no loop devices")


def need_cgroup():
    need_root()
    reason = Cgroup.why_not()
    if reason:
        raise Skipped(reason)


def start_io(stand):
    stand.loads.start("io", stand.mount.disk("io0"), 3)


def start_names(stand, n_programs=4):
    for number in range(n_programs):
        stand.loads.start("names", stand.mount.point, "nmpq"[number] + "ames")
    stand.loads.start("names", stand.mount.point, "contend", "contend")


# ---- under kills


def part_io(options, times):
    with Stand("io", options) as stand:
        start_io(stand)
        stand.kills(times, between=lambda n: n % 25 == 24 and stand.check_explained())
        said = stand.loads.stop()
        stand.check_nothing_leaks()
    return stand, said


def part_spill(options, times):
    """A disk with a sixteenth of the memory that it wants: the rest goes to a file, and comes back,
    while pages are written back by hand as well."""
    with Stand("spill", options) as stand:
        mount, path, going = stand.mount, stand.place / "back", threading.Event()
        mount.hot_add(f"spill0 disksize=64M mem_limit=4M backing_dev={path} backing_size=64M")
        stand.loads.start("io", mount.disk("spill0"), 3)
        going.set()
        threads = [repeat(going, 0.1, write_once, mount.control("spill0", name), text)
                   for name, text in (("writeback", "type=huge"), ("idle", "all"))]
        stand.kills(times)
        going.clear()
        for thread, wrong in threads:
            thread.join(60)
            if wrong:
                raise Failed(wrong[0])
        said = stand.loads.stop()
        disk = json_disk(stand, "spill0")
        for key in ("failed_reads", "failed_writes", "failed_backing_reads",
                    "failed_backing_writes"):
            if disk[key]:
                raise Failed(f"{key}: {disk[key]}")
        stand.notes.append(f"{disk['bd_writes']} pages went to the file, {disk['bd_reads']} were "
                           "read there")
        stand.check_nothing_leaks()
        try:
            wait_until(lambda: not path.exists(), what=f"{path} to go")
        except AssertionError as error:
            raise Failed(str(error)) from None
    return stand, said


@contextlib.contextmanager
def ext4_on(stand):
    """Files on disk0, which is looked through at the end, when nobody uses them any more."""
    device = stand.machine.attach(stand.mount.disk("disk0"))
    run("mkfs.ext4", "-q", device)
    point = stand.machine.mount(device)
    stand.loads.start("files", point)
    yield
    stand.machine.unmount(point)
    run("fsck.ext4", "-f", "-n", device, timeout=120)
    stand.check_kernel_log(pathlib.Path(device).name)


def part_ext4(options, times):
    need_root()
    with Stand("ext4", options, DISK) as stand, ext4_on(stand):
        stand.kills(times)
        said = stand.loads.stop()
    return stand, said


@contextlib.contextmanager
def swap_on(stand, limit_mib):
    """Swap on swap0, and a cgroup for programs that need it."""
    device = stand.machine.attach(stand.mount.disk("swap0"))
    stand.machine.swapon(device, "--discard=pages", "-p", "100")
    cgroup = Cgroup(limit_mib * MIB)
    stand.machine.later(cgroup.remove)
    yield device, cgroup


@contextlib.contextmanager
def memory_on(stand, limit_mib, needed_mib):
    """A program that changes and checks its memory, more than it may have without swap."""
    with swap_on(stand, limit_mib) as (device, cgroup):
        stand.loads.start("memory", needed_mib, prefix=cgroup.prefix())
        yield
        check_swapped(stand, cgroup)
        run("swapoff", device, timeout=300)
        stand.check_kernel_log(pathlib.Path(device).name, "swap")


def check_swapped(stand, cgroup, wanted_mib=64):
    """It really went out and came back, through the disk."""
    disk = json_disk(stand, "swap0")
    for key in ("num_reads", "num_writes"):
        if disk[key] * PAGE < wanted_mib * MIB:
            raise Failed(f"{key}: only {disk[key]} pages were swapped")
    if disk["failed_reads"]:
        raise Failed(f"failed_reads: {disk['failed_reads']}")
    if disk["failed_writes"]:  # the kernel keeps the pages, and tries again later
        stand.notes.append(f"{disk['failed_writes']} writes were refused")


def json_disk(stand, name):
    return next(disk for disk in json_of(stand.mount)["disks"] if disk["name"] == name)


def part_swap(options, times):
    need_cgroup()
    with Stand("swap", options, SWAP) as stand, memory_on(stand, 160, 256):
        stand.kills(times)
        said = stand.loads.stop()
    return stand, said


def part_names(options, times):
    """Handles that are held over all kills are still counted, each once; the others are gone."""
    held = {"held0": 3, "held1": 5}
    with Stand("names", options) as stand:
        files = []
        try:
            for name, number in held.items():
                stand.mount.hot_add(f"{name} disksize=1M")
                files += [os.open(stand.mount.disk(name), os.O_RDWR) for _ in range(number)]
            start_names(stand)
            stand.kills(times)
            said = stand.loads.stop()
            wait_until(lambda: handles(stand) == held, timeout=10,
                       what=f"handles {held}: there are {handles(stand)}")
        except AssertionError as error:
            raise Failed(str(error)) from None
        finally:
            for file in files:
                os.close(file)
        try:
            wait_until(lambda: not any(handles(stand).values()), what="handles to be closed")
        except AssertionError:
            raise Failed(f"handles of nobody: {handles(stand)}") from None
        stand.check_nothing_leaks()
    return stand, said


def handles(stand):
    return {disk["name"]: disk["in_use"] for disk in json_of(stand.mount)["disks"]}


def part_leak(options, times):
    """All loads on one mount; memory is explained between kills, and comes back at the end."""
    with Stand("leak", options) as stand:
        start_io(stand)
        start_names(stand, 2)
        stand.kills(times, between=lambda n: n % 5 == 4 and stand.check_explained())
        said = stand.loads.stop()
        stand.check_explained()
        left = stand.check_nothing_leaks()
        stand.notes.append(f"{left // 1024:+d} KiB at the end")
    return stand, said


# ---- the pause


def gaps(done_ns, killed_ns):
    """The longest time without an answer around each kill, in ms."""
    found = []
    for at in killed_ns:
        first = max(bisect.bisect_left(done_ns, at) - 1, 0)
        last = min(bisect.bisect_left(done_ns, at + 5 * 10 ** 9), len(done_ns) - 1)
        until = next((other for other in killed_ns if other > at), None)
        if until is not None:
            last = min(last, max(bisect.bisect_left(done_ns, until) - 1, first + 1))
        found.append(max(done_ns[i + 1] - done_ns[i] for i in range(first, last)) / 1e6)
    return sorted(found)


def percentile(values, part):
    return values[min(int(len(values) * part), len(values) - 1)]


def memory_available():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def pause_at(options, times, stored_gib):
    n_mib = int(stored_gib * 1024)
    if memory_available() < n_mib * MIB * 1.1 + GIB:
        raise Skipped(f"no {stored_gib} GiB free")
    with Stand(f"pause {stored_gib:g}", options, f"[disk0]\ndisksize = {n_mib}M\n") as stand:
        options.progress.say(f"pause: filling {stored_gib} GiB")
        began = time.monotonic()
        stand.loads.finish("fill", stand.mount.disk("disk0"), n_mib)
        fill_s = time.monotonic() - began
        stored = stand.total()["compr_data_size"]
        if stored < n_mib * MIB:
            raise Failed(f"{stored} bytes are stored of {n_mib} MiB")
        load = stand.loads.start("pause", stand.mount.disk("disk0"))
        time.sleep(0.5)
        killed = stand.kills(times, pause=(0.3, 0.6), bursts=0, looks=0)
        stand.loads.stop()
        answers = array.array("q", load.output.read_bytes())
        stand.look()
        stand.loads.finish("fill", stand.mount.disk("disk0"), n_mib, "check")
        found = gaps(answers, killed) if killed else []
        said = f"{stored_gib:g} GiB: filled in {fill_s:.1f} s"
        if found:
            said += (f"; gap p50 {percentile(found, 0.5):.0f}, p99 {percentile(found, 0.99):.0f}, "
                     f"max {found[-1]:.0f} ms")
        stand.gaps = {"gib": stored_gib, "fill_s": fill_s, "gaps_ms": found}
        stand.notes.append(said)
    return stand, [said]


# ---- upgrades


class Upgrades:
    """Two binaries in turns, by each of the ways there are."""

    def __init__(self, stand, other):
        self.stand, self.binaries = stand, [stand.place / "one", stand.place / "two"]
        shutil.copy(BINARY, self.binaries[0])
        shutil.copy(other or BINARY, self.binaries[1])
        self.own = stand.place / "zramfs"

    def put_own(self, number):
        """What is at the keeper's own path is replaced like a package does it."""
        shutil.copy(self.binaries[number], f"{self.own}.new")
        os.rename(f"{self.own}.new", self.own)

    def by_file(self, number):
        path = self.stand.mount.control("zramfs", "upgrade")
        within(60, write_once, path, f"{self.binaries[number]}\n")

    def by_ctl(self, number):
        run(CTL, "upgrade", self.binaries[number], self.stand.mount.point)

    def by_signal(self, number):
        self.put_own(number)
        os.kill(keeper(self.stand.mount), signal.SIGUSR2)

    def once(self, turn):
        ways = (self.by_file, self.by_signal, self.by_ctl)
        before = generation(self.stand.mount)
        dies = os.pidfd_open(before.pid)
        try:
            began = time.monotonic()
            ways[turn % len(ways)](turn % 2)
            after = next_generation(self.stand.mount, before)
            self.stand.ready_ms.append((time.monotonic() - began) * 1000)
            if after.number != before.number + 1:
                raise Failed(f"an upgrade of {before} came to {after}")
        finally:
            os.close(dies)
        self.stand.n_upgrades += 1
        self.runs(after, self.binaries[turn % 2])

    @staticmethod
    def runs(served, binary):
        """The worker is of that binary: by what it executes, whatever its name is."""
        if pathlib.Path("/proc", str(served.pid), "exe").read_bytes() != binary.read_bytes():
            raise Failed(f"{served} is not of {binary}")


    def go(self, options, times):
        """One after the other, at random instants, and now and then a kill of what was upgraded."""
        stand = self.stand
        for turn in range(times if options.has_keeper else 0):
            stand.check()
            self.once(turn)
            if turn % 10 == 0:
                stand.look()
            if turn % 7 == 6:
                stand.kills(1)
            time.sleep(stand.chance.uniform(0.02, 0.2))
            options.progress.say(f"{stand.name}: {turn + 1} of {times}")


def upgraded(name, options, config="[defaults]\n"):
    """A mount whose program can be replaced."""
    stand = Stand(name, options, config)
    upgrades = Upgrades(stand, options.other)
    upgrades.put_own(0)
    stand.mount.args[0] = str(upgrades.own)
    return stand, upgrades


def part_upgrade(options, times):
    stand, upgrades = upgraded("upgrade", options)
    with stand:
        start_io(stand)
        start_names(stand, 2)
        upgrades.go(options, times)
        said = stand.loads.stop()
        stand.check_nothing_leaks()
    return stand, said


def part_replace(options, times):
    """The same under a filesystem and swap."""
    need_cgroup()
    stand, upgrades = upgraded("replace", options, DISK + SWAP)
    with stand, ext4_on(stand), memory_on(stand, 160, 256):
        upgrades.go(options, times)
        said = stand.loads.stop()
    return stand, said


# ---- pressure


def repeat(going, period, call, *args):
    """Run call(*args) again and again in a thread, until going is cleared. Return: the thread, and
    a list that has what it raised."""
    wrong = []

    def work():
        while going.is_set():
            try:
                call(*args)
            except Exception as error:
                wrong.append(f"{call.__name__}: {error}")
                return
            time.sleep(period)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, wrong


def part_pressure(options, times):
    need_cgroup()
    with Stand("pressure", options, SWAP) as stand, swap_on(stand, 160) as (device, cgroup):
        mount, going = stand.mount, threading.Event()
        going.set()
        stand.loads.start("memory", 256, prefix=cgroup.prefix())
        top = keeper(mount) if options.has_keeper else mount.process.pid
        threads = [
            repeat(going, 0.2, write_once, mount.control("swap0", "compact"), "1"),
            repeat(going, 0.05, text_of, mount.point / ".stats"),
            repeat(going, 0.05, text_of, mount.point / ".stats.json"),
            repeat(going, 0.5, text_of, mount.control("swap0", "block_state")),
            repeat(going, 0.5, os.kill, top, signal.SIGHUP),
        ]
        until = time.monotonic() + options.seconds
        while time.monotonic() < until:
            stand.kills(1 if times else 0, pause=(0.3, 1.5), looks=1)
            for _, wrong in threads:
                if wrong:
                    raise Failed(wrong[0])
            left = until - time.monotonic()
            options.progress.say(f"pressure: {max(left, 0):.0f} s left")
            time.sleep(max(min(left, 0.5), 0))
        going.clear()
        for thread, _ in threads:
            thread.join(60)
        said = stand.loads.stop()
        check_swapped(stand, cgroup)
        run("swapoff", device, timeout=300)
        stand.check_kernel_log(pathlib.Path(device).name, "swap")
    return stand, said


# ---- the daemon's own cgroup is full


def swap_file(stand, n_mib):
    """Swap of the disk, for what is not the daemon's."""
    path = stand.place / "swap-file"
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, n_mib * MIB)
    path.chmod(0o600)
    run("mkswap", path)
    if run("swapon", path, check=False).returncode != 0:
        raise Skipped(f"no swap file below {stand.place}")
    stand.machine.later(run, "swapoff", path)


def part_squeeze(options, times):
    """Its cgroup is full, and something in it always wants more: none of the store goes out."""
    need_cgroup()
    cgroup = Cgroup(2 * GIB)
    try:
        with Stand("squeeze", options, "[disk0]\ndisksize = 128M\n",
                   prefix=cgroup.prefix()) as stand:
            swap_file(stand, 512)
            stand.loads.finish("fill", stand.mount.disk("disk0"), 128)
            cgroup.limit(cgroup.charged() + 80 * MIB)
            stand.loads.start("memory", 160, prefix=cgroup.prefix())
            wait_until(lambda: swapped(cgroup) > 8 * MIB, timeout=60, what="pressure")
            stand.kills(times, looks=1)
            if options.has_keeper:
                memory = store_memory(generation(stand.mount).pid)
                if memory.swap:
                    raise Failed(f"{memory.swap} bytes of the store are swapped out")
            said = stand.loads.stop()
            cgroup.limit(2 * GIB)
            stand.loads.finish("fill", stand.mount.disk("disk0"), 128, "check")
    finally:
        cgroup.remove()
    return stand, said


def swapped(cgroup):
    for line in (cgroup.path / "memory.stat").read_text().splitlines():
        if line.startswith("swap "):
            return int(line.split()[1])
    return cgroup.charged()
