"""Policies: what is done for a disk by itself, with ages of seconds, on a real mount.

Nothing here depends on how fast the machine is but what is waited for, for a minute at most.
"""

import errno
import os
import re
import shutil
import tempfile
import time

import pytest

import kills
from data import PAGE, random_page, text_page, word_page
from host import errno_of, wait_until
from test_recompress import letters_page, mixed_page
from test_reload import reload
from zramfs import MIB

N_PAGES = 1500
HOT = range(0, N_PAGES, 100)

LINE = re.compile(r" *(\d+) +(\d+)\.\d{6} ([.s])([.w])([.h])([.i])([.r])([.n])")

CONFIG = """[zramfs]
policy_cpu = {cpu}
[disk0]
disksize = 64M
recomp_algorithm = algo=zstd priority=1
{more}
"""


def content(page):
    return (letters_page, mixed_page, text_page, random_page, word_page)[page % 5](page + 1)


def fill(mount):
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        for page in range(N_PAGES):
            file.write(content(page))


def check(mount, pages=range(N_PAGES)):
    with open(mount.disk("disk0"), "rb", buffering=0) as file:
        for page in pages:
            file.seek(page * PAGE)
            assert file.read(PAGE) == content(page), page


def states(mount):
    """{page: (last use, flags)} of block_state."""
    found = {}
    for line in mount.get("disk0", "block_state").splitlines():
        page, used, *letters = LINE.fullmatch(line).groups()
        found[int(page)] = int(used), "".join(letters)
    return found


def flagged(mount, letter):
    return {page for page, (_, flags) in states(mount).items() if letter in flags}


def policy(mount):
    """{word: rest of the line}."""
    lines = mount.get("disk0", "policy").splitlines()
    return {line[:14].strip(): line[14:] for line in lines}


def keep_hot(mount, until, what, timeout=60):
    """Use the hot pages until that is so."""
    def looked():
        check(mount, HOT)
        return until()
    wait_until(looked, timeout=timeout, what=what, step=0.2)


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def backing(place):
    return f"backing_dev = {place}/backing\nbacking_size = 64M\n"


@pytest.fixture
def place_for_files():
    """Not /tmp, which may be memory that direct I/O does not work on."""
    path = tempfile.mkdtemp(prefix="zramfs-e2e-policy-", dir="/var/tmp")
    yield path
    shutil.rmtree(path)


def test_off_unless_configured(zramfs):
    mount = zramfs(CONFIG.format(cpu=5, more=""))
    fill(mount)
    assert mount.get("disk0", "policy") == "off\n"
    time.sleep(2)
    assert {used for used, _ in states(mount).values()} == {0}
    assert errno_of(mount.set, "disk0", "idle", "1") == errno.EINVAL


def test_what_is_cold_is_recompressed(zramfs):
    mount = zramfs(CONFIG.format(cpu=100, more="recompress_age = 4"))
    fill(mount)
    used = mount.mm_stat("disk0").mem_used_total
    keep_hot(mount, lambda: int(mount.json()["disks"][0]["recompressed_pages"]) > N_PAGES // 4,
             "cold pages to be recompressed")
    wait_until(lambda: "s ago" in policy(mount)["last"], what="policy to tell of it")
    assert not flagged(mount, "r") & set(HOT)
    assert policy(mount)["last"].startswith("recompressed ")
    # Memory comes back by itself.
    wait_until(lambda: mount.mm_stat("disk0").mem_used_total < used * 0.95, timeout=30,
               what="memory to come back")
    check(mount)


def test_what_is_cold_goes_to_the_file(zramfs, place_for_files):
    mount = zramfs(CONFIG.format(cpu=5, more="writeback_age = 4\n" + backing(place_for_files)))
    fill(mount)
    began, pid = time.monotonic(), kills.generation(mount).pid
    before = cpu_seconds(pid)
    objects = {page for page in range(N_PAGES) if page % 5 != 4}
    keep_hot(mount, lambda: flagged(mount, "w") == objects - set(HOT), "cold pages to be written")
    print(f"CPU of the worker: {cpu_seconds(pid) - before:.2f} s in "
          f"{time.monotonic() - began:.1f} s")
    print(mount.get("disk0", "policy"))
    assert policy(mount)["write back"].startswith("from 4 s, ")
    check(mount)


def test_idle_marks_and_last_use(zramfs):
    mount = zramfs(CONFIG.format(cpu=100, more="idle_age = 3"))
    fill(mount)
    objects = {page for page in range(N_PAGES) if page % 5 != 4}
    keep_hot(mount, lambda: flagged(mount, "i") == objects - set(HOT), "cold pages to be idle")
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    seen = states(mount)
    assert all(0 < now - used < 120 for page, (used, _) in seen.items() if page in objects)
    assert max(seen[1][0], seen[2][0]) < seen[HOT[0]][0]

    # As the kernel's with ages: older ones get the mark, younger ones lose it.
    mount.set("disk0", "idle", "100000")
    assert not flagged(mount, "i")
    mount.set("disk0", "idle", "2")
    assert not flagged(mount, "i") & set(HOT) and len(flagged(mount, "i")) > N_PAGES // 2


def test_ages_outlive_a_worker(zramfs):
    mount = zramfs(CONFIG.format(cpu=100, more="idle_age = 100"))
    fill(mount)
    wait_until(lambda: "in use" in policy(mount).get("objects", ""), what="a first look")
    first = states(mount)[1][0]
    time.sleep(3)
    served, _ = kills.kill(mount)
    kills.next_generation(mount, served)
    wait_until(lambda: "s ago" in policy(mount)["ages"], what="the next one to have looked")
    assert first - 14 <= states(mount)[1][0] <= first + 14
    check(mount)


def test_a_reload_changes_ages(zramfs):
    mount = zramfs(CONFIG.format(cpu=5, more=""))
    fill(mount)
    reload(mount, CONFIG.format(cpu=7, more="idle_age = 2"))
    assert mount.get("zramfs", "policy_cpu") == "7\n" and mount.get("disk0", "idle_age") == "2\n"
    wait_until(lambda: len(flagged(mount, "i")) > N_PAGES // 2, what="pages to be idle")
    tables = int(mount.json()["disks"][0]["tables"])
    reload(mount, CONFIG.format(cpu=7, more="idle_age = 0"))
    assert int(mount.json()["disks"][0]["tables"]) < tables
    assert mount.get("disk0", "policy") == "off\n"


def test_set_at_run_time_without_a_file(zramfs):
    mount = zramfs(CONFIG.format(cpu=5, more=""))
    fill(mount)
    mount.set("disk0", "writeback_age", "2")
    mount.set("disk0", "compact_at", "5")
    assert "there is no backing_dev" in mount.get("disk0", "policy")
    wait_until(lambda: "from 2 s" in policy(mount).get("objects", ""), what="pages to be older")
    mount.set("zramfs", "policy_cpu", "0")
    wait_until(lambda: policy(mount)["why"] == "policy_cpu is 0", what="policies to rest")
    os.close(os.open(mount.disk("new"), os.O_CREAT | os.O_RDWR, 0o600))
    mount.hot_add("other disksize=1M idle_age=5")
    assert mount.get("other", "idle_age") == "5\n" and mount.get("new", "idle_age") == "0\n"


@pytest.mark.limit(60)
def test_set_at_run_time_with_a_file(zramfs, place):
    """Each in its turn, while the thread that does it is there already."""
    mount = zramfs(CONFIG.format(cpu=5, more=f"backing_dev = {place}/backing\nbacking_size = 16M"))
    fill(mount)
    for name in ("idle_age", "recompress_age", "writeback_age"):
        mount.set("disk0", name, "2")
    mount.set("disk0", "writeback_daily", "1G")
    mount.set("disk0", "compact_at", "5")
    wait_until(lambda: "from 2 s" in policy(mount).get("objects", ""), what="pages to be older")
    mount.set("disk0", "idle_age", "0")
    mount.hot_add("other disksize=1M")
    check(mount)
