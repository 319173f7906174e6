"""Names, sizes and handles under kills: everything happens exactly once.

The programs know each answer that they must get. What they cannot know is counted here: who has
what open.
"""

import os
import random

import pytest

from host import wait_until
from kills import LOADS, Loads, generation, kill, kill_often, next_generation

pytestmark = pytest.mark.skipif(not LOADS.is_dir(), reason=f"{LOADS} is not built")


@pytest.fixture
def loads(place):
    with Loads(place) as programs:
        yield programs


def handles(mount):
    return {disk["name"]: disk["in_use"] for disk in mount.json()["disks"]}


def test_names_of_ones_own(zramfs, loads):
    mount = zramfs("[defaults]\n")
    for prefix in ("ann", "bob", "cat", "dan"):
        loads.start("names", mount.point, prefix)
    kill_often(mount, 40, random.Random(1), loads.check)
    loads.stop()
    assert not [name for name in os.listdir(mount.point) if not name.startswith(".")]


def test_names_of_two(zramfs, loads):
    mount = zramfs("[defaults]\n")
    loads.start("names", mount.point, "both", "contend")
    kill_often(mount, 40, random.Random(2), loads.check)
    loads.stop()
    assert not [name for name in os.listdir(mount.point) if not name.startswith(".")]


def test_handles_are_counted(zramfs, loads):
    """Some are held over all kills, others come and go meanwhile."""
    mount = zramfs("[a]\ndisksize = 1M\n[b]\ndisksize = 1M\n[c]\ndisksize = 1M\n")
    held = [os.open(mount.disk(name), os.O_RDWR) for name in "aaabb"]
    loads.start("names", mount.point, "name")
    kill_often(mount, 20, random.Random(3), loads.check)
    loads.stop()
    wait_until(lambda: handles(mount) == {"a": 3, "b": 2, "c": 0}, what="only held handles")

    for fd in held[:2]:
        os.close(fd)
    served, _ = kill(mount)
    next_generation(mount, served)
    wait_until(lambda: handles(mount) == {"a": 1, "b": 2, "c": 0}, what="handles to be closed")
    for fd in held[2:]:
        os.close(fd)
    wait_until(lambda: not any(handles(mount).values()), what="handles to be closed")


def test_a_disk_in_use_stays_in_use(zramfs):
    """What must not happen to a disk that somebody has open is refused by the next worker too."""
    mount = zramfs("[a]\ndisksize = 1M\n")
    fd = os.open(mount.disk("a"), os.O_RDONLY)
    served, _ = kill(mount)
    next_generation(mount, served)
    with pytest.raises(OSError, match="busy"):
        os.unlink(mount.disk("a"))
    os.close(fd)
    os.unlink(mount.disk("a"))
    assert generation(mount).number == served.number + 1
