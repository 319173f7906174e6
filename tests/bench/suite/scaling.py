"""Disks from 1 GiB to 1 TiB with the same data: what an operation takes must not grow."""

from suite import GIB, MIB, TIB, daemon, targets
from suite import work as works
from suite.contest import Contest, Side
from suite.figures import Figures, short
from suite.part import Part
from suite.table import Table

EXTENT = 2 * MIB
SIZES = {"1 GiB": GIB, "32 GiB": 32 * GIB, "1 TiB": TIB}
WORKS = (works.RANDREAD_P50, works.RANDWRITE_P50, works.RANDREAD_32, works.RANDWRITE_32)


class Scaling(Part):
    name = "scaling"
    about = "4 KiB reads and writes of the same data on disks from 1 GiB to 1 TiB"

    def __init__(self, bench):
        super().__init__(bench)
        self.data = min(bench.options.mib * MIB, GIB)

    def why_not(self):
        return self.bench.build.lacking(self.bench.build.load, self.bench.build.zramfs)

    def run(self, undo):
        mount = daemon.zramfs(undo, "".join(f"[disk{i}]\ndisksize = {size}\n"
                                            for i, size in enumerate(SIZES.values())))
        n_extents = self.data // EXTENT
        sides = [Side(name, mount.disk(f"disk{i}"),
                      ("-l", self.data, "-e", EXTENT, "-g", size // n_extents // MIB * MIB))
                 for i, (name, size) in enumerate(SIZES.items())]
        contest = Contest(self.bench, sides, WORKS)
        contest.fill()
        contest.play()
        self.print(contest)
        memory = {}
        for i, name in enumerate(SIZES):
            stat = mount.mm_stat(f"disk{i}")
            memory[name] = {"tables": int(mount.get(f"disk{i}", "tables").split()[1]),
                            "used": stat.mem_used_total, "data": stat.compr_data_size}
        self.print_memory(memory)
        return {"said": contest.said, "memory": memory}

    def print(self, contest):
        base, last = contest.sides[0], contest.sides[-1]
        table = Table(f"Time of an operation, us, on {self.data // MIB} MiB of data in extents of "
                      f"{EXTENT // MIB} MiB all over the disk", "work", *SIZES,
                      f"{last.name} / {base.name}", "least", "most", "target", "how far")
        for work in contest.works:
            # 1 / (k/s) is ms; the ratio is of times, whichever the work is judged by.
            times = [contest.figures(work, side).median for side in contest.sides]
            if works.higher_is_better(work):
                times = [1e3 / figure for figure in times]
            grown = Figures(1 / ratio for ratio in contest.ratios(work, last, base).values)
            share = self.point(f"{work.name}: 1 TiB", "zramfs", grown, targets.SCALING,
                               lower_is_better=True)
            table.add(work.name, *map(short, times), short(grown.median), short(grown.least),
                      short(grown.most), targets.SCALING, targets.how_far(share))
        self.bench.table(table)

    def print_memory(self, memory):
        table = Table("Memory of the same", "disk", "data, MiB", "tables, MiB", "used / data")
        for name, each in memory.items():
            table.add(name, f"{each['data'] / MIB:.1f}", f"{each['tables'] / MIB:.2f}",
                      f"{each['used'] / each['data']:.4f}")
        self.bench.table(table)
