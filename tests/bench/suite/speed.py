"""Reads and writes of a filled disk: zramfs against kernel zram, against nbdkit, and the floor."""

import os

from host import lacking
from suite import MIB, daemon, targets
from suite.command import Failed
from suite.contest import Contest, Side
from suite.figures import short
from suite.part import Part
from suite.table import Table

ZRAM, NBDKIT = "kernel zram", "nbdkit + nbdfuse"
RATIO_NOTE = "* reached.  Ratios above 1: zramfs is faster, in time per operation too."


def _config(size, codec, transport):
    head = "" if transport == "classic" else f"[zramfs]\ntransport = {transport}\n"
    return f"{head}[disk0]\ndisksize = {size}\ncomp_algorithm = {codec}\n"


class Speed(Part):
    """Some sides that are ours against another. missing: {side name: why it is not there}."""

    def __init__(self, bench):
        super().__init__(bench)
        self.size = bench.options.mib * MIB
        self.missing = {}

    def zramfs_sides(self, undo, codec, has_loop):
        sides = []
        for transport in ("classic", "io_uring"):
            try:
                mount = self._zramfs(undo, codec, transport)
            except Failed as error:
                for way in ("file", "loop")[:1 + has_loop]:
                    self.missing[f"{way}, {transport}"] = str(error)
                continue
            sides.append(Side(f"file, {transport}", mount.disk("disk0")))
            if has_loop:
                device = daemon.attach(undo, self.bench.build, mount, "disk0")
                sides.append(Side(f"loop, {transport}", device))
        return sides

    def _zramfs(self, undo, codec, transport):
        if transport == "io_uring" and self.bench.zramfs_lacks_uring:
            raise Failed(self.bench.zramfs_lacks_uring)
        mount = daemon.zramfs(undo, _config(self.size, codec, transport))
        if transport == "io_uring" and not daemon.uses_uring(mount):
            mount.stop()
            raise Failed("io_uring: zramfs was asked for it and went on without")
        return mount

    def null_sides(self, undo):
        sides = []
        for transport in ("classic", "io_uring"):
            if transport == "io_uring" and self.bench.null_lacks_uring:
                self.missing[f"null file, {transport}"] = self.bench.null_lacks_uring
                continue
            path = daemon.null(undo, self.bench.build, self.size, transport)
            sides.append(Side(f"null file, {transport}", path))
            if os.geteuid() == 0:
                sides.append(Side(f"null loop, {transport}", daemon.attach_null(undo, path)))
        return sides

    def contest(self, sides, works):
        contest = Contest(self.bench, sides, works)
        contest.fill()
        contest.play()
        return contest

    def json(self, contest):
        return {"mib": self.size // MIB, "said": contest.said, "missing": self.missing}

    # tables

    def note_missing(self, table):
        for reason in self.missing.values():
            table.note(reason)

    def detail(self, title, contest, against, wanted):
        """Each side's figures. wanted: {work: {side name: target}}."""
        table = Table(title, "work", "side", "unit", "figure", "least", "most", "ratio", "least",
                      "most", "target", "how far", n_text=3)
        for work in contest.works:
            table.gap()
            for side in contest.sides:
                figures = contest.figures(work, side)
                cells = [work.name, side.name, work.unit, short(figures.median),
                         short(figures.least), short(figures.most)]
                if against not in (None, side):
                    ratios = contest.ratios(work, side, against)
                    cells += [short(ratios.median), short(ratios.least), short(ratios.most)]
                    cells += self._target(work, side, ratios, wanted)
                table.add(*cells, *["" for _ in table.heads[len(cells):]])
        for stall in contest.stalls():
            table.note(stall)
        self.note_missing(table)
        self.bench.table(table)

    def _target(self, work, side, ratios, wanted):
        target = wanted.get(work, {}).get(side.name)
        if target is None:
            return []
        return [short(target), targets.how_far(self.point(work.name, side.name, ratios, target))]

    def overview(self, title, contest, against, wanted, names):
        """The table of targets, each with what was reached."""
        table = Table(title, "work", *names)
        by_name = {side.name: side for side in contest.sides}
        for work in contest.works:
            cells = []
            for name in names:
                target = wanted.get(work, {}).get(name)
                ratio = (contest.ratios(work, by_name[name], against).median
                         if name in by_name else None)
                cells.append(short(ratio) + (f" of {target}" if target else "") +
                             ("*" if target and ratio and ratio >= target else " "))
            table.add(work.name, *cells)
        table.note(RATIO_NOTE)
        self.note_missing(table)
        self.bench.table(table)


class AgainstZram(Speed):
    codec = None

    def why_not(self):
        build = self.bench.build
        return daemon.KernelZram.why_not(self.codec) or build.lacking(build.load, build.zramfs,
                                                                      build.ctl)

    def run(self, undo):
        daemon.KernelZram(undo, self.codec, self.size)
        zram = Side(ZRAM, daemon.KernelZram.DEVICE)
        sides = [zram, *self.zramfs_sides(undo, self.codec, has_loop=True)]
        has_null = self.bench.wants_null and self.codec == "lz4"
        if has_null:
            sides += self.null_sides(undo)
        contest = self.contest(sides, list(targets.AGAINST_ZRAM))
        wanted = {work: dict(zip(targets.SIDES, each))
                  for work, each in targets.AGAINST_ZRAM.items()}
        names = [*targets.SIDES, *(side.name for side in sides if side.name.startswith("null"))]
        title = f"Speed: zramfs / kernel zram, {self.codec}; median of each round's ratio"
        self.overview(title, contest, zram, wanted, names)
        self.detail(f"Speed: zramfs and kernel zram, {self.codec}, figure by figure", contest,
                    zram, wanted)
        return self.json(contest)


class Lz4(AgainstZram):
    name, codec = "zram-lz4", "lz4"
    about = "reads and writes against kernel zram, both with lz4"


class Lzo(AgainstZram):
    name, codec = "zram-lzo", "lzo"
    about = "the same with lzo"


class Null(Speed):
    name = "null"
    about = "a daemon that does nothing: what FUSE alone takes; beside zram-lz4, in its turns"

    def why_not(self):
        return self.bench.build.lacking(self.bench.build.load, self.bench.build.null_daemon)

    def run(self, undo):
        if self.bench.wants_null:
            return {"see": Lz4.name}
        contest = self.contest(self.null_sides(undo), list(targets.AGAINST_ZRAM))
        self.detail("A daemon that does nothing", contest, None, {})
        return self.json(contest)


class Nbdkit(Speed):
    name = "nbdkit"
    about = "reads and writes with zstd against nbdkit's memory plugin, mounted by nbdfuse"

    def why_not(self):
        program = lacking("nbdkit", "nbdfuse")
        build = self.bench.build
        return f"no {program}" if program else build.lacking(build.load, build.zramfs)

    def run(self, undo):
        nbdkit = Side(NBDKIT, daemon.nbdkit(undo, self.size))
        sides = [nbdkit, *self.zramfs_sides(undo, "zstd", has_loop=False)]
        contest = self.contest(sides, list(targets.AGAINST_NBDKIT))
        names = (targets.FILE, targets.URING_FILE)
        wanted = {work: dict.fromkeys(names, target)
                  for work, target in targets.AGAINST_NBDKIT.items()}
        self.overview("Speed: zramfs with zstd / nbdkit's memory plugin with zstd and nbdfuse",
                      contest, nbdkit, wanted, names)
        self.detail("Speed: zramfs and nbdkit, zstd, figure by figure", contest, nbdkit, wanted)
        return self.json(contest)
