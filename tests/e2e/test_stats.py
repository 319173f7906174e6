"""The statistics: .stats for people, compcache's names and order and then ours; .stats.json for
programs; .metrics for Prometheus. Their figures agree with each other and with what was done."""

import errno
import json
import os
import re
import stat
import time

import pytest

from data import PAGE, half_page, random_page, random_pages, text_pages, word_page
from host import KEEP_SIZE, PUNCH_HOLE, errno_of, fallocate, run, wait_until
from zramfs import BINARY, MIB, parse_stats

COMPCACHE = ["DiskSize", "MemLimit", "NumReads", "NumWrites", "FailedReads", "FailedWrites",
             "InvalidIO", "NotifyFree", "ZeroPages", "GoodCompress", "NoCompress", "PagesStored",
             "PagesUsed", "OrigDataSize", "ComprDataSize", "MemUsedTotal"]
OURS = ["MemUsedMax", "SameFilledPages", "HugePages", "HugePagesSince", "UndecodablePages",
        "RecompressedPages", "Tables", "Ratio", "Algorithm", "InUse", "Discard", "Fragmentation",
        "PolicyRecompressed", "PolicyWrittenBack",
        "ReadP50", "ReadP99", "ReadMax", "WriteP50", "WriteP99", "WriteMax"]
TOTAL = ["Disks", "OrigDataSize", "ComprDataSize", "MemUsedTotal", "PagesStored",
         "SameFilledPages", "HugePages", "Tables", "StoreMemory", "Reserve", "Fragmentation",
         "PagesCompacted", "Generation", "PoisonedRequests"]

KB = ["DiskSize", "MemLimit", "OrigDataSize", "ComprDataSize", "MemUsedTotal", "MemUsedMax",
      "Tables", "Fragmentation"]
PERCENT = ["GoodCompress", "NoCompress"]
US = [f"{what}{point}" for what in ("Read", "Write") for point in ("P50", "P99", "Max")]

# The schema of .stats.json: what each object has, and nothing else.
JSON = {"schema": int, "version": str, "time_ns": int, "disks": list, "total": dict}
JSON_TEXTS = ("name", "comp_algorithm", "algorithm_params", "format", "backing_dev")
JSON_FIGURES = (
    "disksize", "mem_limit", "swap_priority", "orig_data_size", "compr_data_size",
    "mem_used_total", "mem_used_max", "pages_stored", "same_pages", "zero_pages", "good_pages",
    "huge_pages", "tables", "fragmentation", "num_reads", "num_writes", "failed_reads",
    "failed_writes", "invalid_io", "notify_free", "discard", "huge_pages_since",
    "undecodable_pages", "recompressed_pages", "in_use",
    "policy_recompressed", "policy_written_back",
    # of a backing file, which these disks have not
    "bd_count", "bd_reads", "bd_writes", "backing_used", "backing_limit", "backing_file_size",
    "backing_file_free", "failed_backing_reads", "failed_backing_writes",
    "backing_lost")
JSON_LATENCIES = ("read_latency", "write_latency", "spill_latency")
JSON_LATENCY = ("count", "sum_ns", "p50_ns", "p90_ns", "p99_ns", "max_ns")
JSON_TOTAL = (
    "disks", "mem_limit", "orig_data_size", "compr_data_size", "mem_used_total", "pages_stored",
    "same_pages", "huge_pages", "tables", "store_memory", "reserve", "fragmentation",
    "pages_compacted", "generation", "poisoned_requests", "bd_count", "backing_used")

# Of disks that have a backing file alone.
OF_A_FILE = ("WrittenBack", "BDevNumReads", "BDevNumWrites", "BackingUsed", "BackingLimit",
             "BackingFileSize", "BackingFileFree", "FailedBackingReads", "FailedBackingWrites",
             "BackingLost")

# What a figure of JSON is called by the other two.
CALLED = {
    "disksize": ("DiskSize", "disksize_bytes"),
    "mem_limit": ("MemLimit", "mem_limit_bytes"),
    "orig_data_size": ("OrigDataSize", "orig_data_size_bytes"),
    "compr_data_size": ("ComprDataSize", "compr_data_size_bytes"),
    "mem_used_total": ("MemUsedTotal", "mem_used_total_bytes"),
    "mem_used_max": ("MemUsedMax", "mem_used_max_bytes"),
    "pages_stored": ("PagesStored", "pages_stored"),
    "same_pages": ("SameFilledPages", "same_pages"),
    "zero_pages": ("ZeroPages", "zero_pages"),
    "good_pages": ("GoodCompress", "good_pages"),
    "huge_pages": ("HugePages", "huge_pages"),
    "tables": ("Tables", "tables_bytes"),
    "fragmentation": ("Fragmentation", "fragmentation_bytes"),
    "policy_recompressed": ("PolicyRecompressed", "policy_recompressed_pages_total"),
    "policy_written_back": ("PolicyWrittenBack", "policy_written_back_pages_total"),
    "num_reads": ("NumReads", "read_pages_total"),
    "num_writes": ("NumWrites", "written_pages_total"),
    "failed_reads": ("FailedReads", "failed_reads_total"),
    "failed_writes": ("FailedWrites", "failed_writes_total"),
    "invalid_io": ("InvalidIO", "invalid_io_total"),
    "notify_free": ("NotifyFree", "notify_free_pages_total"),
    "discard": ("Discard", "discard_total"),
    "huge_pages_since": ("HugePagesSince", "huge_pages_since_total"),
    "undecodable_pages": ("UndecodablePages", "undecodable_pages_total"),
    "recompressed_pages": ("RecompressedPages", "recompressed_pages"),
    "in_use": ("InUse", "in_use"),
    "bd_count": ("WrittenBack", "written_back_pages"),
    "bd_reads": ("BDevNumReads", "backing_read_pages_total"),
    "bd_writes": ("BDevNumWrites", "backing_written_pages_total"),
    "backing_used": ("BackingUsed", "backing_used_bytes"),
    "backing_limit": ("BackingLimit", "backing_limit_bytes"),
    "backing_file_size": ("BackingFileSize", "backing_file_size_bytes"),
    "backing_file_free": ("BackingFileFree", "backing_file_free_bytes"),
    "failed_backing_reads": ("FailedBackingReads", "failed_backing_reads_total"),
    "failed_backing_writes": ("FailedBackingWrites", "failed_backing_writes_total"),
    "backing_lost": ("BackingLost", "backing_lost"),
}
CALLED_IN_TOTAL = {
    "disks": ("Disks", "disks"),
    "mem_limit": ("MemLimit", "store_mem_limit_bytes"),
    "store_memory": ("StoreMemory", "store_memory_bytes"),
    "reserve": ("Reserve", "reserve_bytes"),
    "fragmentation": ("Fragmentation", "store_fragmentation_bytes"),
    "pages_compacted": ("PagesCompacted", "pages_compacted_total"),
    "generation": ("Generation", "generation"),
    "poisoned_requests": ("PoisonedRequests", "poisoned_requests_total"),
}

SAMPLE = re.compile(r'(zramfs_\w+)(?:\{((?:\w+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\d+(?:\.\d+)?)')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def number(keys, key):
    return int(keys[key].split()[0])


def of(mount, key, disk="disk0"):
    return number(mount.stats()[disk], key)


def in_json(mount):
    return json.loads((mount.point / ".stats.json").read_bytes())


def in_metrics(mount):
    """{(name, ((label, value), ...)): number}; every line is a sample or of the two comments."""
    found = {}
    for line in (mount.point / ".metrics").read_text().splitlines():
        if line.startswith(("# HELP zramfs_", "# TYPE zramfs_")):
            continue
        name, labels, value = SAMPLE.fullmatch(line).groups()
        key = name, tuple((label, re.sub(r"\\(.)", r"\1", text))
                          for label, text in LABEL.findall(labels or ""))
        assert key not in found, line
        found[key] = float(value)
    return found


def test_keys_and_their_order(zramfs):
    stats = zramfs("[a]\ndisksize = 8M\n[b]\ndisksize = 8M\nmem_limit = 4M\n").stats()
    assert list(stats) == ["a", "b", "total"]
    assert list(stats["b"]) == COMPCACHE + OURS
    assert list(stats["a"]) == [key for key in COMPCACHE + OURS if key != "MemLimit"]
    assert list(stats["total"]) == TOTAL


def test_layout(zramfs):
    mount = zramfs("[a]\ndisksize = 8M\nmem_limit = 4M\n[b]\ndisksize = 8M\n")
    text = (mount.point / ".stats").read_text()
    assert text.endswith("\n") and not text.endswith("\n\n")
    blocks = text.split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == ["[a]", "[b]", "[total]"]
    for line in blocks[0].splitlines()[1:]:
        key, value = line.split(":\t")
        if key in KB:
            assert re.fullmatch(r" *\d+ kB", value) and len(value) >= 11, line
        elif key in PERCENT:
            assert re.fullmatch(r" *\d+ %", value) and len(value) >= 10, line
        elif key in US:
            assert re.fullmatch(r" *\d+ us", value) and len(value) >= 11, line
        elif key in ("Ratio", "Algorithm"):
            assert len(value) >= 8, line
        else:
            assert re.fullmatch(r" *\d+", value) and len(value) >= 8, line


def test_of_an_empty_disk(mount):
    stats = mount.stats()
    keys = stats["disk0"]
    assert number(keys, "DiskSize") == 65536
    for key in COMPCACHE[2:]:
        assert number(keys, key) == 0, key
    assert keys["Algorithm"].strip() == "lz4"
    assert stats["total"]["Disks"].strip() == "1"


def test_without_any_disk(zramfs):
    mount = zramfs("[defaults]\ndisksize = 8M\n")
    stats = mount.stats()
    assert list(stats) == ["total"]
    assert stats["total"]["Disks"].strip() == "0"


def test_of_a_disk_of_size_0(mount):
    os.close(os.open(mount.disk("new"), os.O_CREAT | os.O_RDWR))
    assert of(mount, "DiskSize", "new") == 0


def test_reads_and_writes_count_pages(mount):
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        fd = file.fileno()
        os.pwrite(fd, text_pages(10), 0)
        assert (of(mount, "NumWrites"), of(mount, "NumReads")) == (10, 0)
        os.pwrite(fd, b"a", 0)
        assert of(mount, "NumWrites") == 11
        os.pwrite(fd, b"ab", PAGE - 1)
        assert of(mount, "NumWrites") == 13
        os.pread(fd, 10 * PAGE, 0)
        os.pread(fd, 1, 5 * PAGE)
        assert of(mount, "NumReads") in (11, 14)  # whether changing part of a page reads it


def test_pages_of_each_kind(mount):
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        file.write(text_pages(50) + random_pages(20) + bytes(10 * PAGE) +
                   word_page(0x0123456789abcdef) * 5)
    keys = mount.stats()["disk0"]
    assert number(keys, "PagesStored") == 70  # compcache's word for those that have an object
    assert number(keys, "OrigDataSize") == 85 * 4
    assert number(keys, "ZeroPages") == 10
    assert number(keys, "SameFilledPages") == 15
    assert number(keys, "HugePages") == number(keys, "HugePagesSince") == 20
    assert number(keys, "GoodCompress") in (71, 72)
    assert number(keys, "NoCompress") in (28, 29)
    assert number(keys, "UndecodablePages") == 0


def test_good_compress_is_half_a_page_or_less(mount):
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        for i in range(10):
            file.write(half_page(i))             # a little over a quarter
        for i in range(10):                      # about 5/8: kept compressed, but not good
            file.write(random_page(i)[:2560] + bytes(PAGE - 2560))
    keys = mount.stats()["disk0"]
    assert (number(keys, "GoodCompress"), number(keys, "NoCompress")) == (50, 0)


def test_figures_agree_with_mm_stat(mount):
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        file.write(text_pages(500) + random_pages(500))
    keys, mm_stat = mount.stats()["disk0"], mount.mm_stat("disk0")
    for key, figure in (("OrigDataSize", mm_stat.orig_data_size),
                        ("ComprDataSize", mm_stat.compr_data_size),
                        ("MemUsedTotal", mm_stat.mem_used_total),
                        ("MemUsedMax", mm_stat.mem_used_max)):
        assert abs(number(keys, key) - figure / 1024) <= 1, key
    assert number(keys, "SameFilledPages") == mm_stat.same_pages
    assert number(keys, "HugePages") == mm_stat.huge_pages
    assert abs(number(keys, "PagesUsed") - mm_stat.mem_used_total / PAGE) <= 1
    assert os.stat(mount.disk("disk0")).st_blocks * 512 == number(keys, "PagesStored") * PAGE
    ratio = float(re.search(r"[\d.]+", keys["Ratio"])[0])
    low = mm_stat.orig_data_size / mm_stat.mem_used_total
    high = mm_stat.orig_data_size / mm_stat.compr_data_size
    assert low - 0.02 <= ratio <= high + 0.02


def test_discards_are_counted(mount):
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        file.write(text_pages(64))
        fallocate(file.fileno(), PUNCH_HOLE | KEEP_SIZE, 10 * PAGE, 20 * PAGE)
    assert of(mount, "NotifyFree") == mount.io_stat("disk0").notify_free == 20
    assert of(mount, "PagesStored") == 44


def test_failures_are_counted(zramfs):
    mount = zramfs("[disk0]\ndisksize = 8M\nmem_limit = 256K\n")
    failed = 0
    fd = os.open(mount.disk("disk0"), os.O_RDWR)
    try:
        for i in range(100):
            failed += bool(errno_of(os.pwrite, fd, random_page(i), i * PAGE))
    finally:
        os.close(fd)
    assert 30 < failed < 60
    assert of(mount, "FailedWrites") == mount.io_stat("disk0").failed_writes == failed
    assert of(mount, "NumWrites") == 100  # counters include failures, as compcache's did
    assert of(mount, "FailedReads") == 0


def test_totals_add_up(zramfs):
    mount = zramfs("[a]\ndisksize = 64M\n[b]\ndisksize = 64M\n")
    mount.disk("a").open("r+b").write(text_pages(100))
    mount.disk("b").open("r+b").write(random_pages(300))
    stats = mount.stats()
    for key in ("OrigDataSize", "ComprDataSize", "MemUsedTotal"):
        parts = number(stats["a"], key) + number(stats["b"], key)
        assert abs(number(stats["total"], key) - parts) <= 2, key
    assert number(stats["total"], "StoreMemory") >= number(stats["total"], "MemUsedTotal")
    os.unlink(mount.disk("a"))
    stats = mount.stats()
    assert list(stats) == ["b", "total"]
    assert stats["total"]["Disks"].strip() == "1"


def test_in_use_shows(mount, machine):
    free = mount.stats()["disk0"]["InUse"]
    holder = machine.hold(mount.disk("disk0"))
    used = mount.stats()["disk0"]["InUse"]
    assert used != free
    holder.release()
    wait_until(lambda: mount.stats()["disk0"]["InUse"] == free, what="InUse to fall")


def test_read_twice(mount):
    """By two opens, by one handle, in small pieces, by cat."""
    path = mount.point / ".stats"
    path.read_text()  # what is open takes memory of the store: a page, the first time
    first = path.read_text()
    assert path.read_text() == first
    with open(path, "rb", buffering=0) as file:
        whole = file.read()
        file.seek(0)
        assert file.read() == whole == first.encode()
        pieces, at = [], 0
        while piece := os.pread(file.fileno(), 7, at):
            pieces.append(piece)
            at += len(piece)
        assert b"".join(pieces) == whole
    assert run("cat", path).stdout == first


@pytest.mark.parametrize("name, mode", [(".stats", 0o644), (".stats.json", 0o444),
                                        (".metrics", 0o444)])
def test_modes(mount, name, mode):
    path = mount.point / name
    assert stat.S_IMODE(os.stat(path).st_mode) == mode
    if not mode & 0o222:
        assert errno_of(os.open, path, os.O_WRONLY) == errno.EACCES
    with open(path, "rb", buffering=0) as file:
        whole = file.read()
        assert whole and whole.endswith(b"\n") and os.pread(file.fileno(), 1 << 20, 5) == whole[5:]


def test_cp_and_grep_work(mount, place):
    run("cp", mount.point / ".stats", place / "stats")
    assert parse_stats((place / "stats").read_text()).keys() == mount.stats().keys()
    assert "DiskSize" in run("grep", "DiskSize", mount.point / ".stats").stdout
    assert run("tail", "-n", "1", mount.point / ".stats").stdout.startswith("PoisonedRequests:")


def test_a_hundred_disks(zramfs, place):
    """In order of age, and whole, whichever program reads it."""
    mount = zramfs("".join(f"[disk{i:02}]\ndisksize = 1M\n" for i in range(100)))
    names = [f"disk{i:02}" for i in range(100)]
    assert list(mount.stats()) == names + ["total"]
    assert [disk["name"] for disk in in_json(mount)["disks"]] == names
    assert [dict(labels)["disk"] for (name, labels) in in_metrics(mount)
            if name == "zramfs_in_use"] == names

    for name in (".stats", ".stats.json", ".metrics"):
        path, copy = mount.point / name, place / "copy"
        n_lines = len(path.read_text().splitlines())
        last = path.read_text().splitlines()[-1]
        run("cp", path, copy)
        assert len(copy.read_text().splitlines()) == n_lines
        assert len(run("cat", path).stdout.splitlines()) == n_lines
        assert run("wc", "-l", path).stdout.split()[0] == str(n_lines)
        assert run("grep", "-c", "", path).stdout == f"{n_lines}\n"
        assert run("tail", "-n", "1", path).stdout == f"{last}\n"


# The three together

SETTINGS = """[a]
disksize = 64M
mem_limit = 32M
[b]
disksize = 8M
comp_algorithm = zstd
algorithm_params = level=3
format = swap
swap_priority = -1
"""


def use(mount):
    """Something for every figure to count."""
    with open(mount.disk("a"), "r+b", buffering=0) as file:
        fd = file.fileno()
        # At most half of what a request holds: the kernel may cut larger ones within a page.
        for pages in (text_pages(100), text_pages(100, 100), text_pages(100, 200),
                      random_pages(100), bytes(30 * PAGE), word_page(0x0123456789abcdef) * 20):
            file.write(pages)
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 50 * PAGE, 25 * PAGE)
        os.pread(fd, 100 * PAGE, 0)
    with open(mount.disk("b"), "r+b", buffering=0) as file:
        file.seek(PAGE)
        file.write(random_pages(10) + text_pages(20))
    wait_until(lambda: not sum(disk["in_use"] for disk in in_json(mount)["disks"]),
               what="the handles to be released")


def settled(mount):
    """All three texts of a time when nothing changed in the background."""
    def take():
        before = in_json(mount)
        texts = before, mount.stats(), in_metrics(mount)
        after = in_json(mount)
        return after["disks"] == before["disks"] and after["total"] == before["total"] and texts

    return wait_until(take, what="quiet")


def check_latency(latency):
    assert tuple(latency) == JSON_LATENCY
    assert all(type(latency[name]) is int and latency[name] >= 0 for name in JSON_LATENCY)


def test_the_schema_of_json(zramfs):
    mount = zramfs(SETTINGS)
    use(mount)
    snapshot = in_json(mount)
    assert {name: type(value) for name, value in snapshot.items()} == JSON
    assert snapshot["schema"] == 1
    assert abs(snapshot["time_ns"] / 1e9 - time.time()) < 60
    assert run(BINARY, "--version").stdout.split()[-1] == snapshot["version"]
    for disk in snapshot["disks"]:
        assert sorted(disk) == sorted((*JSON_TEXTS, *JSON_FIGURES, *JSON_LATENCIES))
        assert all(type(disk[name]) is str for name in JSON_TEXTS)
        assert all(type(disk[name]) is int for name in JSON_FIGURES)
        for name in JSON_LATENCIES:
            check_latency(disk[name])
    assert sorted(snapshot["total"]) == sorted(JSON_TOTAL)
    assert all(type(value) is int for value in snapshot["total"].values())
    a, b = snapshot["disks"]
    assert [a[name] for name in JSON_TEXTS] == ["a", "lz4", "", "none", "none"]
    assert [b[name] for name in JSON_TEXTS] == ["b", "zstd", "level=3", "swap", "none"]
    assert (a["swap_priority"], b["swap_priority"]) == (100, -1)
    assert (a["disksize"], a["mem_limit"]) == (64 * MIB, 32 * MIB)


def test_json_of_no_disks(zramfs):
    mount = zramfs("[defaults]\ndisksize = 8M\n")
    snapshot = in_json(mount)
    assert snapshot["disks"] == [] and snapshot["total"]["disks"] == 0


def test_json_has_what_was_done(zramfs):
    mount = zramfs(SETTINGS)
    use(mount)
    a = in_json(mount)["disks"][0]
    assert a["orig_data_size"] == (300 - 25 + 100 + 30 + 20) * PAGE
    assert (a["pages_stored"], a["same_pages"], a["zero_pages"]) == (375, 50, 30)
    assert (a["huge_pages"], a["huge_pages_since"], a["good_pages"]) == (100, 100, 275)
    assert (a["num_writes"], a["num_reads"]) == (450, 100)
    assert (a["notify_free"], a["discard"]) == (25, 1)
    assert a["read_latency"]["count"] >= 1 and a["write_latency"]["count"] >= 1
    assert a["write_latency"]["max_ns"] <= a["write_latency"]["sum_ns"] < 60e9


def shown(keys, key, value):
    """Does .stats say so much? In kB rounded up, in percent of PagesStored rounded down."""
    if value == 0 and (key == "MemLimit" or key in OF_A_FILE):
        return key not in keys
    if key == "GoodCompress":
        value = value * 100 // max(number(keys, "PagesStored"), 1)
    return number(keys, key) == (-(-value // 1024) if " kB" in keys[key] else value)


def test_the_three_agree(zramfs):
    mount = zramfs(SETTINGS)
    use(mount)
    snapshot, stats, metrics = settled(mount)
    for disk in snapshot["disks"]:
        keys, labels = stats[disk["name"]], (("disk", disk["name"]),)
        assert set(CALLED) == set(JSON_FIGURES) - {"swap_priority"}
        for name, (key, metric) in CALLED.items():
            assert shown(keys, key, disk[name]), (key, keys.get(key), disk[name])
            assert metrics.pop((f"zramfs_{metric}", labels)) == disk[name], name
        for name, what in (("read_latency", "Read"), ("write_latency", "Write")):
            for point in ("P50", "P99", "Max"):
                ns = disk[name][f"{point.lower()}_ns"]
                assert number(keys, what + point) == -(-ns // 1000)
            check_histogram(metrics, f"zramfs_{name}_seconds", labels, disk[name])
        check_histogram(metrics, "zramfs_spill_latency_seconds", labels, disk["spill_latency"])
        assert metrics.pop(("zramfs_disk_info", (*labels, *(
            (name, str(disk[name])) for name in
            ("comp_algorithm", "algorithm_params", "format", "swap_priority"))))) == 1

    total = snapshot["total"]
    for name, (key, metric) in CALLED_IN_TOTAL.items():
        assert shown(stats["total"], key, total[name]), key
        assert metrics.pop((f"zramfs_{metric}", ())) == total[name], name
    for name in set(JSON_TOTAL) - set(CALLED_IN_TOTAL):
        assert total[name] == sum(disk[name] for disk in snapshot["disks"]), name
        assert shown(stats["total"], CALLED[name][0], total[name]), name
    assert metrics.pop(("zramfs_info", (("version", snapshot["version"]),))) == 1
    for line in mount.get("zramfs", "safety").splitlines():
        measure, word = line.split()[:2]
        assert metrics.pop(("zramfs_safety", (("measure", measure),))) == (word == "ok"), line
    assert not metrics, "and no others"


def check_histogram(metrics, metric, labels, latency):
    bounds = [1024 * 4 ** i / 1e9 for i in range(13)]
    counts = [metrics.pop((f"{metric}_bucket", (*labels, ("le", f"{bound:.9f}"))))
              for bound in bounds]
    counts.append(metrics.pop((f"{metric}_bucket", (*labels, ("le", "+Inf")))))
    assert counts == sorted(counts)
    assert counts[-1] == metrics.pop((f"{metric}_count", labels)) == latency["count"]
    assert round(metrics.pop((f"{metric}_sum", labels)) * 1e9) == latency["sum_ns"]
    for bound, count in zip(bounds, counts):
        if latency["max_ns"] < bound * 1e9:
            assert count == latency["count"]
        if latency["p50_ns"] < bound * 1e9:
            assert count >= latency["count"] / 2


def test_they_agree_with_control_files_and_stat(zramfs):
    mount = zramfs(SETTINGS)
    use(mount)
    for disk in settled(mount)[0]["disks"]:
        mm_stat, io_stat = mount.mm_stat(disk["name"]), mount.io_stat(disk["name"])
        for name in ("orig_data_size", "compr_data_size", "mem_used_total", "mem_limit",
                     "mem_used_max", "same_pages", "huge_pages", "huge_pages_since"):
            assert disk[name] == getattr(mm_stat, name), name
        for name in ("failed_reads", "failed_writes", "invalid_io", "notify_free"):
            assert disk[name] == getattr(io_stat, name), name
        for name in ("num_reads", "num_writes", "discard", "zero_pages", "disksize"):
            assert disk[name] == int(mount.get(disk["name"], name)), name
        for name, file, line in (("tables", "tables", "table_bytes"),
                                 ("fragmentation", "fragmentation", "free_bytes")):
            figures = dict(line.split() for line in mount.get(disk["name"], file).splitlines())
            assert disk[name] == int(figures[line]), name
        figures = dict(line.split() for line in mount.get(disk["name"], "latency").splitlines())
        for what in ("read", "write"):
            for point in ("count", "p50_ns", "p90_ns", "p99_ns", "max_ns"):
                assert disk[f"{what}_latency"][point] == int(figures[f"{what}_{point}"])
        status = os.stat(mount.disk(disk["name"]))
        assert (status.st_size, status.st_blocks * 512) == (disk["disksize"],
                                                            disk["orig_data_size"])


ODD_NAMES = [b'a"b\\c d', "dïsk €".encode(), b"\xe9", "é".encode(), b"\xff\xfe\x80z", b"{x}=,#",
             b"\\u00e9", b"\\n", "\U0001f4be".encode()]


def as_json_tells(name):
    """Bytes that are no characters are told by the characters of their numbers."""
    found = ""
    while name:
        for n in (1, 2, 3, 4):
            try:
                found, name = found + name[:n].decode(), name[n:]
                break
            except UnicodeDecodeError:
                continue
        else:
            found, name = found + chr(name[0]), name[1:]
    return found


@pytest.fixture
def oddly_named(mount):
    for i, name in enumerate(ODD_NAMES):
        fd = os.open(os.fsencode(mount.point) + b"/" + name, os.O_CREAT | os.O_RDWR)
        os.ftruncate(fd, (i + 1) * PAGE)
        os.close(fd)
    return mount


def test_odd_names_in_json(oddly_named):
    told = [(disk["name"], disk["disksize"]) for disk in in_json(oddly_named)["disks"]]
    assert told[1:] == [(as_json_tells(name), (i + 1) * PAGE) for i, name in enumerate(ODD_NAMES)]


def test_odd_names_in_metrics(oddly_named):
    found = {}
    for (name, labels), value in in_metrics(oddly_named).items():
        if name == "zramfs_disksize_bytes":
            labels = dict(labels)
            shown_name = labels.pop("disk")
            raw = bytes.fromhex(labels.pop("disk_hex", "")) or shown_name.encode()
            assert not labels and as_json_tells(raw) == shown_name
            found[raw] = value
    del found[b"disk0"]
    assert found == {name: (i + 1) * PAGE for i, name in enumerate(ODD_NAMES)}


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("disks", ["none", "used", "odd"])
def test_promtool_has_nothing_to_say(zramfs, place, request, disks):
    if disks == "none":
        mount = zramfs("[defaults]\ndisksize = 8M\n")
    elif disks == "used":
        mount = zramfs(SETTINGS)
        use(mount)
    else:
        mount = request.getfixturevalue("oddly_named")
    (place / "metrics").write_bytes((mount.point / ".metrics").read_bytes())
    with open(place / "metrics", "rb") as metrics:
        done = run("promtool", "check", "metrics", stdin=metrics, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_samples_are_grouped(zramfs):
    """HELP and TYPE once for a name, then all its samples."""
    mount = zramfs(SETTINGS)
    seen, current = set(), None
    for line in (mount.point / ".metrics").read_text().splitlines():
        if line.startswith("# HELP "):
            current = line.split()[2]
            assert current not in seen and line.endswith(".")
            seen.add(current)
        elif line.startswith("# TYPE "):
            assert line.split()[2] == current
            assert (line.split()[3] == "counter") == current.endswith("_total")
        else:
            name = re.match(r"\w+", line)[0]
            assert re.sub(r"_(bucket|sum|count)$", "", name) == current, line


@pytest.mark.root
@pytest.mark.needs("setpriv")
@pytest.mark.parametrize("foreground", [True, False], ids=["foreground", "background"])
def test_statistics_for_everyone_and_control_not(zramfs, user, foreground):
    mount = zramfs("[disk0]\ndisksize = 64M\n", foreground=foreground)
    text = run("cat", mount.point / ".stats", user=user).stdout
    assert "[disk0]" in text and "[total]" in text
    assert json.loads(run("cat", mount.point / ".stats.json", user=user).stdout)["schema"] == 1
    assert 'disk="disk0"' in run("cat", mount.point / ".metrics", user=user).stdout
    assert run("sh", "-c", f"echo 0 > {mount.point}/.stats", user=user,
               check=False).returncode != 0
    assert run("ls", mount.point, user=user).stdout.split() == ["disk0"]
    assert run("cat", mount.disk("disk0"), user=user, check=False).returncode != 0
    for name in ("reset", "mem_limit"):
        script = f"echo 1 > {mount.control('disk0', name)}"
        assert run("sh", "-c", script, user=user, check=False).returncode != 0
    assert os.stat(mount.disk("disk0")).st_size == 64 * MIB
