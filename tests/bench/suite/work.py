"""What is read and written, and by which figure it is judged."""

import collections

from suite import KIB, MIB
from suite.command import measure

WARM_SHARE = 0.1  # of the time, before it and not counted
PATIENCE_S = 60  # for what should have been over

Work = collections.namedtuple("Work", "name kind request_bytes depth unit")

MIB_PER_S, THOUSANDS, MICROSECONDS = "MiB/s", "k/s", "us"

WRITE_4 = Work("1 MiB writes, depth 4", "write", MIB, 4, MIB_PER_S)
READ_4 = Work("1 MiB reads, depth 4", "read", MIB, 4, MIB_PER_S)
WRITE_1 = Work("1 MiB writes, depth 1", "write", MIB, 1, MIB_PER_S)
RANDWRITE_32 = Work("4 KiB random writes, depth 32", "randwrite", 4 * KIB, 32, THOUSANDS)
RANDREAD_32 = Work("4 KiB random reads, depth 32", "randread", 4 * KIB, 32, THOUSANDS)
RANDREAD_P50 = Work("4 KiB random reads, depth 1, p50", "randread", 4 * KIB, 1, MICROSECONDS)
RANDWRITE_P50 = Work("4 KiB random writes, depth 1, p50", "randwrite", 4 * KIB, 1, MICROSECONDS)
RANDREAD_1 = Work("4 KiB random reads, depth 1", "randread", 4 * KIB, 1, THOUSANDS)
RANDWRITE_1 = Work("4 KiB random writes, depth 1", "randwrite", 4 * KIB, 1, THOUSANDS)


def higher_is_better(work):
    return work.unit != MICROSECONDS


def figure(work, said):
    """Of what load printed, in the unit of the work."""
    if work.unit == MIB_PER_S:
        return said["mib_per_s"]
    if work.unit == THOUSANDS:
        return said["iops"] / 1e3
    return said["p50_ns"] / 1e3


def fill(bench, path, *options):
    return measure([bench.build.load, "-p", bench.pages, "-b", MIB, "-d", 4, *options,
                    "fill", path], timeout=PATIENCE_S * 5)


def play(bench, work, path, seed, *options):
    """Once. Return: what load printed."""
    seconds = bench.options.seconds
    return measure([bench.build.load, "-p", bench.pages, "-b", work.request_bytes,
                    "-d", work.depth, "-s", seconds, "-w", seconds * WARM_SHARE, "-r", seed,
                    *options, work.kind, path], timeout=seconds + PATIENCE_S)
