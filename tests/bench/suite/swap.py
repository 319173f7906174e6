"""Swapping: a program that is larger than its memory cgroup, filled and touched again."""

import collections
import pathlib
import time

from host import Cgroup, run, swaps
from suite import GIB, MIB, daemon, targets
from suite.command import measure
from suite.figures import Figures, ratios, short
from suite.part import Part
from suite.speed import ZRAM
from suite.table import Table
from suite.undo import Undo

SIZE = 2 * GIB  # of the swap areas; only what is swapped takes memory
PATIENCE_S = 120
FIRST = "32767"  # priority: before all other swap
SETTLE_S = 0.5  # until what was swapped is given back
PHASES = {"fill": "fill_s", "touch again": "touch_s"}

# device: to swap to; options: of swapon; kill: ends what serves it, so that nobody waits for ever.
Area = collections.namedtuple("Area", "name device options kill")


def _config(transport):
    head = "" if transport == "classic" else f"[zramfs]\ntransport = {transport}\n"
    return f"{head}[swap0]\ndisksize = {SIZE}\nformat = swap\n"


class Swap(Part):
    name = "swap"
    about = "a program larger than its memory cgroup, swapped to zramfs and to kernel zram"

    def __init__(self, bench):
        super().__init__(bench)
        self.mib = 350 if bench.options.quick else 700
        self.limit_mib = self.mib * 2 // 7
        self.missing = {}

    def why_not(self):
        build = self.bench.build
        return (daemon.KernelZram.why_not("lz4") or Cgroup.why_not() or
                build.lacking(build.swap_load, build.zramfs, build.ctl))

    def areas(self, undo):
        daemon.KernelZram(undo, "lz4", SIZE)
        run("mkswap", daemon.KernelZram.DEVICE)
        areas = [Area(ZRAM, daemon.KernelZram.DEVICE, (), None)]
        for transport in ("classic", "io_uring"):
            name = f"loop, {transport}"
            if transport == "io_uring" and self.bench.zramfs_lacks_uring:
                self.missing[name] = self.bench.zramfs_lacks_uring
                continue
            mount = daemon.zramfs(undo, _config(transport))
            device = daemon.attach(undo, self.bench.build, mount, "swap0")
            areas.append(Area(name, device, ("--discard=pages",), mount.kill))
        return areas

    def once(self, area):
        """Return: what swap-load printed."""
        with Undo() as undo:
            cgroup = Cgroup(self.limit_mib * MIB)
            undo.later(time.sleep, SETTLE_S)
            undo.later(_swapoff, area.device)
            undo.later(cgroup.remove)
            run("swapon", "-p", FIRST, *area.options, area.device)
            return measure([*cgroup.prefix(), self.bench.build.swap_load, self.bench.pages,
                            self.mib], PATIENCE_S, area.kill)

    def run(self, undo):
        areas = self.areas(undo)
        said = {area.name: [] for area in areas}
        for round_ in range(self.bench.options.rounds):
            for area in areas[::-1] if round_ % 2 else areas:
                self.bench.progress(f"round {round_ + 1} of {self.bench.options.rounds}: "
                                    f"{area.name}")
                said[area.name].append(self.once(area))
        self.print(areas, said)
        return {"mib": self.mib, "limit_mib": self.limit_mib, "said": said,
                "missing": self.missing}

    def print(self, areas, said):
        table = Table(f"Swap: {self.mib} MiB in a cgroup of {self.limit_mib} MiB, lz4; "
                      "kernel zram's time / ours", "work", "side", "s", "least", "most", "ratio",
                      "least", "most", "target", "how far", n_text=2)
        for phase, key in PHASES.items():
            table.gap()
            theirs = Figures(each[key] for each in said[ZRAM])
            for area in areas:
                ours = Figures(each[key] for each in said[area.name])
                cells = [phase, area.name, short(ours.median), short(ours.least), short(ours.most)]
                target = targets.SWAP[phase].get(area.name)
                if target:
                    each = ratios(ours, theirs, higher_is_better=False)
                    share = self.point(phase, area.name, each, target)
                    cells += [short(each.median), short(each.least), short(each.most),
                              short(target), targets.how_far(share)]
                table.add(*cells, *["" for _ in table.heads[len(cells):]])
        cluster = pathlib.Path("/proc/sys/vm/page-cluster").read_text().strip()
        table.note(f"vm.page-cluster is {cluster}; every page was looked at and was right.")
        for reason in self.missing.values():
            table.note(reason)
        self.bench.table(table)


def _swapoff(device):
    """Idempotent."""
    if device in swaps():
        run("swapoff", device, timeout=PATIENCE_S)
