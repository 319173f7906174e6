"""More than memory holds: a program swapped to a disk with little memory and a file behind it, to
that file alone, and to a disk that refuses."""

import collections
import os
import pathlib
import time

from host import Cgroup, run, swaps
from suite import GIB, MIB, daemon
from suite.command import Failed, measure
from suite.figures import Figures, short
from suite.part import Part
from suite.swap import FIRST, PHASES, SETTLE_S
from suite.table import Table
from suite.undo import Undo

SHARE = 4  # of what the data takes compressed the disk may keep
RATIO = 2.4  # of the pages, about
PATIENCE_S = 180
PLACE = pathlib.Path("/var/tmp")  # no tmpfs: that would be memory

Area = collections.namedtuple("Area", "name device options more_mib written mount")


class Spill(Part):
    name = "spill"
    about = "a program swapped to a disk with a backing file, to that file alone, and refused"

    def __init__(self, bench):
        super().__init__(bench)
        self.mib = 256 if bench.options.quick else 512
        self.cgroup_mib = self.mib // 4
        self.limit_mib = int((self.mib - self.cgroup_mib) / RATIO / SHARE)

    def why_not(self):
        build = self.bench.build
        return Cgroup.why_not() or build.lacking(build.swap_load, build.zramfs, build.ctl)

    def config(self, lines):
        return (f"[swap0]\ndisksize = {GIB}\nformat = swap\nmem_limit = {self.limit_mib}M\n" +
                "".join(f"{line}\n" for line in lines))

    def zramfs(self, undo, name, lines):
        mount = daemon.zramfs(undo, self.config(lines))
        device = daemon.attach(undo, self.bench.build, mount, "swap0")
        return Area(name, device, ("--discard=pages",), 0, lambda: _written_by(mount), mount)

    def file(self, undo):
        path = PLACE / f"zramfs-bench-swap-{os.getpid()}"
        undo.later(path.unlink)
        run("fallocate", "-l", str(GIB), path)
        path.chmod(0o600)
        run("mkswap", path)
        # As much memory as the disk has on the other side.
        return Area("the file alone", str(path), (), self.limit_mib, _swapped, None)

    def areas(self, undo):
        path = PLACE / f"zramfs-bench-back-{os.getpid()}"
        keys = {"zramfs and a file": "random", "the same, no key": "none"}
        areas = [self.zramfs(undo, name, (f"backing_dev = {path}-{key}",
                                          f"backing_size = {GIB}", f"backing_key = {key}"))
                 for name, key in keys.items()]
        return areas + [self.file(undo)]

    def once(self, area):
        with Undo() as undo:
            cgroup = Cgroup((self.cgroup_mib + area.more_mib) * MIB)
            undo.later(time.sleep, SETTLE_S)
            undo.later(_swapoff, area.device)
            undo.later(cgroup.remove)
            run("swapon", "-p", FIRST, *area.options, area.device)
            before = area.written()
            said = measure([*cgroup.prefix(), self.bench.build.swap_load, self.bench.pages,
                            self.mib], PATIENCE_S, area.mount and area.mount.kill)
            return {**said, "written_mib": (area.written() - before) / MIB}

    def refused(self, undo):
        """What becomes of the program where the disk refuses."""
        area = self.zramfs(undo, "refusing", ())
        try:
            self.once(area)
        except Failed as error:
            return "the program is killed" if "status -9" in str(error) else str(error)
        return "the program ends well"

    def run(self, undo):
        areas = self.areas(undo)
        said = {area.name: [] for area in areas}
        for round_ in range(self.bench.options.rounds):
            for area in areas[::-1] if round_ % 2 else areas:
                self.bench.progress(f"round {round_ + 1} of {self.bench.options.rounds}: "
                                    f"{area.name}")
                said[area.name].append(self.once(area))
        refused = self.refused(undo)
        pauses = areas[0].mount.stats()["swap0"].get("SpillP99")
        self.print(said, refused, pauses)
        return {"mib": self.mib, "cgroup_mib": self.cgroup_mib, "limit_mib": self.limit_mib,
                "said": said, "refused": refused}

    def print(self, said, refused, pauses):
        table = Table(f"Spilling: {self.mib} MiB in a cgroup of {self.cgroup_mib} MiB, swapped to "
                      f"{self.limit_mib} MiB of memory and a file", "work", "side", "s", "least",
                      "most", "MiB/s", n_text=2)
        for phase, key in PHASES.items():
            table.gap()
            for name, rounds in said.items():
                figures = Figures(each[key] for each in rounds)
                table.add(phase, name, short(figures.median), short(figures.least),
                          short(figures.most), short(self.mib / figures.median))
        table.gap()
        for name, rounds in said.items():
            figures = Figures(each["written_mib"] for each in rounds)
            table.add("written, MiB", name, short(figures.median), short(figures.least),
                      short(figures.most), "")
        table.note("The file alone has the memory of the disk in its cgroup; every page was looked "
                   "at and was right.")
        if pauses:
            table.note(f"Writes that waited for room: p99 {pauses}.")
        table.note(f"A disk without a file, which refuses: {refused}.")
        self.bench.table(table)


def _written_by(mount):
    """Bytes that the worker has sent to files."""
    pid = (mount.point / ".control/zramfs/generation").read_text().split()[1]
    lines = pathlib.Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


def _swapped():
    lines = pathlib.Path("/proc/vmstat").read_text().splitlines()
    return int(dict(line.split() for line in lines)["pswpout"]) * 4096


def _swapoff(device):
    if device in swaps():
        run("swapoff", device, timeout=PATIENCE_S)
