"""A daemon that has nothing to do: the memory it takes, and whether it sleeps."""

import os
import pathlib
import re
import time

from host import Cgroup
from suite import MIB, PAGE, daemon, targets
from suite.figures import Figures
from suite.memory import ROOM, pages_of
from suite.part import Part
from suite.table import Table
from suite.undo import Undo

THREADS = (2, 4)
SETTLE_S = 2
TICKS = os.sysconf("SC_CLK_TCK")


def _cpu_s(pids):
    fields = [pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
              for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / TICKS


def _wakeups(pids):
    """How often their threads went to sleep by themselves, so far."""
    texts = [path.read_text() for pid in pids
             for path in pathlib.Path(f"/proc/{pid}/task").glob("*/status")]
    return sum(int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M)[1])
               for text in texts)


def _pss(pids):
    texts = [pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return sum(int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) * 1024 for text in texts)


class Idle(Part):
    name = "idle"
    about = "memory and processor time of a daemon with one disk and nothing to do"

    def why_not(self):
        if os.geteuid() != 0:
            return "cgroups want root"
        return Cgroup.why_not() or self.bench.build.lacking(self.bench.build.zramfs)

    def run(self, undo):
        table = Table("A daemon with one disk and nothing to do", "threads", "processes",
                      "charged", "reserve", "less reserve", "target", "how far", "PSS",
                      "CPU, %", "wakeups/s")
        found = {}
        for n_threads in THREADS:
            found[n_threads] = each = self.once(n_threads)
            net = (each["charged"] - each["reserve"]) / MIB
            target = targets.idle_mib(n_threads)
            share = self.point(f"{n_threads} threads", "zramfs", Figures([net]), target,
                               lower_is_better=True)
            table.add(n_threads, each["processes"],
                      *(f"{each[key] / MIB:.1f}" for key in ("charged", "reserve")), f"{net:.1f}",
                      target, targets.how_far(share), f"{each['pss'] / MIB:.1f}",
                      f"{each['cpu_percent']:.2f}", f"{each['wakeups_per_s']:.1f}")
        table.note("charged: to its memory cgroup; PSS: of all its processes. MiB, of an empty "
                   "disk.\nCPU and wakeups: later, when 64 MiB have been written.")
        self.bench.table(table)
        return found

    def once(self, n_threads):
        seconds = 3 if self.bench.options.quick else 10
        self.bench.progress(f"{n_threads} threads")
        with Undo() as undo:
            group = Cgroup(ROOM)
            undo.later(group.remove)
            mount = daemon.zramfs(undo, f"[zramfs]\nthreads = {n_threads}\n"
                                        "[disk0]\ndisksize = 1G\n", group.prefix())
            time.sleep(SETTLE_S)
            pids = mount.pids()
            found = {"processes": len(pids), "charged": group.charged(), "pss": _pss(pids),
                     "reserve": mount.json()["total"]["reserve"]}
            mount.disk("disk0").write_bytes(pages_of(self.bench.pages, 64 * MIB, PAGE))
            time.sleep(SETTLE_S)
            cpu_s, wakeups = _cpu_s(pids), _wakeups(pids)
            time.sleep(seconds)
            found["cpu_percent"] = 100 * (_cpu_s(pids) - cpu_s) / seconds
            found["wakeups_per_s"] = (_wakeups(pids) - wakeups) / seconds
        return found
