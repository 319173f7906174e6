"""Memory for the same pages: zramfs in a memory cgroup of its own, and the kernel's zram.

Fills a disk, overwrites all of it three times in random order, each page with a random one of the
file, recompresses it if that is wanted, and discards a random half.
"""

import collections
import ctypes
import fcntl
import mmap
import os
import random
import struct
import time

from host import KEEP_SIZE, PUNCH_HOLE, Cgroup, fallocate
from suite import GIB, MIB, PAGE, TIB, daemon, targets
from suite.figures import Figures
from suite.part import Part
from suite.table import Table
from suite.undo import Undo

BATCH = 16 * PAGE
ROOM = 1 << 50  # of a cgroup that is there to count
SETTLE_S = 5
BLKDISCARD = 0x1277
USEFUL_MAX = 3840  # bytes of an object; what compresses to more is stored as it is

# Bytes; memory has the reserve in it, at once and when it has settled.
Row = collections.namedtuple("Row", "phase data at_once memory reserve")


class Zramfs:
    """The daemon, alone in a memory cgroup, with the pages spread over its disks."""

    def __init__(self, undo, n_disks, size, algorithm, recompress=None):
        self.group = Cgroup(ROOM)
        undo.later(self.group.remove)
        self.share = size // n_disks
        self.mount = daemon.zramfs(undo, "".join(
            f"[disk{i}]\ndisksize = {self.share}\ncomp_algorithm = {algorithm}\n" +
            (f"recomp_algorithm = algo={recompress}\n" if recompress else "")
            for i in range(n_disks)), self.group.prefix())
        self.recompresses = recompress is not None
        self.files = []
        for i in range(n_disks):
            fd = os.open(self.mount.disk(f"disk{i}"), os.O_RDWR | os.O_DIRECT)
            undo.later(os.close, fd)
            self.files.append(fd)
        time.sleep(1.5)
        self.empty = self.group.charged()

    def write(self, offset, data):
        os.pwrite(self.files[offset // self.share], data, offset % self.share)

    def discard(self, offset, length):
        fallocate(self.files[offset // self.share], PUNCH_HOLE | KEEP_SIZE, offset % self.share,
                  length)

    def recompress(self):
        for i in range(len(self.files)):
            self.mount.set(f"disk{i}", "recompress", "\n")

    def figures(self):
        compressed = sum(self.mount.mm_stat(f"disk{i}").compr_data_size
                         for i in range(len(self.files)))
        reserve = self.mount.json()["total"]["reserve"]
        return compressed, self.group.charged() - self.empty, reserve


class Zram:
    """The kernel's; its slot table, 16 bytes a page, is not in mem_used_total."""

    recompresses = False

    def __init__(self, undo, size, algorithm):
        self.zram = daemon.KernelZram(undo, algorithm, size)
        self.fd = os.open(self.zram.DEVICE, os.O_RDWR | os.O_DIRECT)
        undo.later(os.close, self.fd)

    def write(self, offset, data):
        os.pwrite(self.fd, data, offset)

    def discard(self, offset, length):
        fcntl.ioctl(self.fd, BLKDISCARD, struct.pack("QQ", offset, length))

    def figures(self):
        return *self.zram.stat(), 0


def _row(phase, side, settle):
    at_once = side.figures()
    time.sleep(settle)
    data, memory, reserve = side.figures()
    return Row(phase, data, at_once[1], memory, reserve)


def fill(side, pages):
    buffer = mmap.mmap(-1, BATCH)
    for at in range(0, len(pages), BATCH):
        buffer[:] = pages[at:at + BATCH].ljust(BATCH, b"\0")
        side.write(at, buffer)


def phases(side, pages, settle, progress):
    """A row after each. The order is the same for all sides."""
    chance = random.Random(1)
    n_pages = len(pages) // PAGE
    progress("fill")
    fill(side, pages)
    yield _row("fill", side, settle)
    page = mmap.mmap(-1, PAGE)
    for turn in range(3):
        order = list(range(n_pages))
        chance.shuffle(order)
        for n, where in enumerate(order):
            if n % 4096 == 0:
                progress(f"overwrite {turn + 1} of 3, {100 * n // n_pages} %")
            what = chance.randrange(n_pages) * PAGE
            page[:] = pages[what:what + PAGE]
            side.write(where * PAGE, page)
        yield _row(f"overwrite {turn + 1}", side, settle)
    if side.recompresses:
        progress("recompress")
        begin = time.monotonic()
        side.recompress()
        took = time.monotonic() - begin
        yield _row(f"recompress, {took:.1f} s", side, settle)
    progress("discard half")
    for where in range(n_pages):
        if chance.random() < 0.5:
            side.discard(where * PAGE, PAGE)
    yield _row("discard half", side, SETTLE_S if settle else 0)


def pages_of(path, n_bytes, unit=BATCH):
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    return data[:min(len(data), n_bytes) // unit * unit]


def lz4_bytes(pages, progress):
    """What these pages compress to with lz4, each asked of the library here."""
    lz4 = ctypes.CDLL("liblz4.so.1")
    out = ctypes.create_string_buffer(2 * PAGE)
    total = 0
    for at in range(0, len(pages), PAGE):
        if at % (4096 * PAGE) == 0:
            progress(f"compressing once more, {100 * at // len(pages)} %")
        page = pages[at:at + PAGE]
        if page != page[:8] * (PAGE // 8):
            n_bytes = lz4.LZ4_compress_default(page, out, PAGE, len(out))
            total += n_bytes if n_bytes <= USEFUL_MAX else PAGE
    return total


class Memory(Part):
    name = "memory"
    about = "memory for the same pages, against kernel zram; 16 disks; an empty TiB"

    def __init__(self, bench):
        super().__init__(bench)
        self.settle = 1 if bench.options.quick else SETTLE_S

    def why_not(self):
        if os.geteuid() != 0:
            return "cgroups want root"
        return Cgroup.why_not() or self.bench.build.lacking(self.bench.build.zramfs)

    def run(self, undo):
        bench = self.bench
        pages = pages_of(bench.pages, (128 if bench.options.quick else 1024) * MIB, 16 * BATCH)
        table = Table(f"Memory for {len(pages) // MIB} MiB of pages, lz4; over compressed bytes, "
                      "lower is better", "after", "side", "data", "memory", "reserve", "at once",
                      "settled", "less reserve", "target", "how far", n_text=2)
        rows = {}
        rows["zramfs"] = self.rows(table, "zramfs", lambda undo: Zramfs(undo, 1, len(pages), "lz4"),
                                   pages, self.settle)
        reason = daemon.KernelZram.why_not("lz4")
        if reason:
            table.note(reason)
        else:
            rows["zram"] = self.rows(table, "kernel zram",
                                     lambda undo: Zram(undo, len(pages), "lz4"), pages, 0)
        rows["disks"] = self.disks(table, pages)
        ours = rows["zramfs"][0].data
        theirs = lz4_bytes(pages, bench.progress)
        table.note(f"data, memory, reserve in MiB; settled: {self.settle} s later, after discard "
                   f"{SETTLE_S} s.\nCompressed bytes after fill: {ours}; liblz4 page by page: "
                   f"{theirs} ({ours / theirs:.4f}).")
        bench.table(table)
        return {"rows": {side: [row._asdict() for row in each] for side, each in rows.items()},
                "lz4_bytes": theirs, "empty_tib": self.empty_tib()}

    def rows(self, table, name, make, pages, settle):
        with Undo() as undo:
            side = make(undo)
            rows = []
            for row in phases(side, pages, settle,
                              lambda text: self.bench.progress(f"{name}: {text}")):
                target = targets.MEMORY.get(row.phase) if name == "zramfs" else None
                self.add(table, name, row, target)
                rows.append(row)
        table.gap()
        return rows

    def add(self, table, name, row, target):
        net = (row.memory - row.reserve) / row.data
        cells = [row.phase, name, *(f"{n / MIB:.1f}" for n in (row.data, row.memory, row.reserve)),
                 f"{row.at_once / row.data:.4f}", f"{row.memory / row.data:.4f}", f"{net:.4f}"]
        if target:
            share = self.point(row.phase, name, Figures([net]), target,
                               lower_is_better=True)
            cells += [f"{target:.3f}", targets.how_far(share)]
        table.add(*cells, *["" for _ in table.heads[len(cells):]])

    def disks(self, table, pages):
        with Undo() as undo:
            self.bench.progress("16 disks")
            side = Zramfs(undo, 16, len(pages), "lz4")
            fill(side, pages)
            row = _row(f"fill of 16 x {len(pages) // 16 // MIB} MiB", side, self.settle)
        self.add(table, "zramfs", row, targets.MEMORY_16_DISKS)
        return [row]

    def empty_tib(self):
        """What an empty disk takes, and once more after somebody has looked all over it."""
        with Undo() as undo:
            self.bench.progress("an empty TiB")
            side = Zramfs(undo, 1, MIB, "lz4")
            side.mount.hot_add(f"big disksize={TIB}")
            time.sleep(1.5)
            made = side.group.charged() - side.empty
            fd = os.open(side.mount.disk("big"), os.O_RDONLY | os.O_DIRECT)
            undo.later(os.close, fd)
            buffer = mmap.mmap(-1, MIB)
            for gib in range(TIB // GIB):
                os.preadv(fd, [buffer], gib * GIB)
            read = side.group.charged() - side.empty
        table = Table("Memory for an empty disk of 1 TiB", "after", "MiB", "target", "how far")
        target = targets.MEMORY_EMPTY_TIB_MIB
        for what, n_bytes in (("made", made), ("read in 1024 places", read)):
            mib = max(n_bytes / MIB, 0.001)  # nothing at all would be infinitely good
            share = self.point(f"empty TiB, {what}", "zramfs", Figures([mib]), target,
                               lower_is_better=True)
            table.add(what, f"{n_bytes / MIB:.2f}", target, targets.how_far(share))
        table.note("kernel zram takes 4096 MiB: 16 bytes a page.")
        self.bench.table(table)
        return {"made": made, "read": read}
