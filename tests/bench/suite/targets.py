"""What is to be reached. Ratios are of medians, each round's of its own; see tests/bench/README."""

import math

from suite import work as works

FILE, LOOP = "file, classic", "loop, classic"
URING_FILE, URING_LOOP = "file, io_uring", "loop, io_uring"
SIDES = (FILE, LOOP, URING_FILE, URING_LOOP)

# zramfs / kernel zram, the same codec: of each side.
AGAINST_ZRAM = {
    works.WRITE_4: (2.0, 1.8, 2.0, 1.8),
    works.READ_4: (1.5, 1.4, 1.4, 1.2),
    works.WRITE_1: (1.5, 1.3, 1.5, 1.3),
    works.RANDWRITE_32: (1.5, 1.0, 1.5, 1.1),
    works.RANDREAD_32: (1.2, 0.8, 1.4, 0.9),
    works.RANDREAD_P50: (0.25, 0.15, 0.6, 0.3),
    works.RANDWRITE_P50: (0.35, 0.2, 0.7, 0.5),
}

# zramfs with zstd / nbdkit and nbdfuse, whatever the transport.
AGAINST_NBDKIT = {
    works.WRITE_4: 2, works.READ_4: 2,
    works.RANDWRITE_32: 10, works.RANDREAD_32: 5,
    works.RANDWRITE_1: 10, works.RANDREAD_1: 5,
}

# kernel zram / zramfs, in seconds.
SWAP = {
    "fill": {LOOP: 1.0, URING_LOOP: 1.0},
    "touch again": {LOOP: 0.7, URING_LOOP: 0.85},
}

# Memory / compressed bytes, lower is better.
MEMORY = {"fill": 1.03, "overwrite 3": 1.03, "discard half": 1.045}
MEMORY_16_DISKS = 1.05
MEMORY_EMPTY_TIB_MIB = 1
SCALING = 1.0  # time of an operation on 1 TiB / on 1 GiB

IDLE_MIB, IDLE_THREAD_MIB = 16, 2.5  # and so much for each thread above two


def idle_mib(n_threads):
    return IDLE_MIB + IDLE_THREAD_MIB * max(0, n_threads - 2)


def how_far(share):
    """share: of the target; 1 and above is reached, and nothing below looks as if."""
    return "reached" if share >= 1 else f"{math.floor(share * 100) / 100:.2f} of it"
