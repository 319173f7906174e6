"""What tests/bench/run is made of: one noun a file.

    targets     the figures to be reached
    part        a part of the run: what it wants, prints and leaves for the others
      speed       reads and writes, against kernel zram, nbdkit and a daemon that does nothing
      swap        swapping out and in
      memory      what the pages take
      scaling     disks from 1 GiB to 1 TiB
      idle        a daemon that has nothing to do
    contest     sides in turns
      work        what is read and written
      figures     medians, spreads, ratios
    daemon      who serves: zramfs, the null daemon, nbdkit; and kernel zram
    build       the programs under test, and what they can do
    machine     what it is, how busy, and its settings
    bench       what all of them share
      undo        whatever was set up is taken down, last first
      command     programs with a time limit
      progress    one line that stays in place
    table       aligned, or as Markdown
    picture     ratios against targets, drawn by gnuplot
"""

import pathlib
import sys

BENCH = pathlib.Path(__file__).resolve().parents[1]
ROOT = BENCH.parents[1]

# Mounts, cgroups and commands are the end-to-end tests' own.
sys.path.append(str(ROOT / "tests" / "e2e"))

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
PAGE = 4096
