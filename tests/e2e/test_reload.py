"""SIGHUP reads the configuration again: what may change changes, and nothing else does.

What the daemon says is its log in the foreground; in the background it goes to syslog, and what it
did is looked at.
"""

import contextlib
import os
import signal
import stat
import threading

import pytest

import kills
from data import text_pages
from host import errno_of, run, wait_until
from zramfs import MIB, PAGE

CONTENT = text_pages(MIB // PAGE)

BASE = "[a]\ndisksize = 8M\nmem_limit = 4M\n[b]\ndisksize = 16M\n"

DONE = "configuration read again: "
FAILED = "configuration not read again: "


def hang_up(mount):
    """The signal alone, to the process that has it."""
    mount.signal(signal.SIGHUP)


def reload(mount, config=None):
    """Read it again, in the foreground. Return: the lines that were said."""
    before = mount.said()
    if config is not None:
        mount.config.write_text(config)
    hang_up(mount)

    def said():
        new = mount.said()[len(before):]
        ended = DONE in new or FAILED in new or "nothing to read again" in new
        return new if ended and new.endswith("\n") else None

    return [line.removeprefix("zramfs: ") for line in
            wait_until(said, what="the configuration to be read").splitlines()]


def fill(mount, disk, content):
    """From its start, without making it shorter first."""
    with open(mount.disk(disk), "r+b", buffering=0) as file:
        assert file.write(content) == len(content)


def names(mount):
    return sorted(name for name in os.listdir(mount.point) if not name.startswith("."))


def mode(mount, disk):
    return stat.S_IMODE(os.stat(mount.disk(disk)).st_mode)


def test_the_same_again_changes_nothing(zramfs):
    mount = zramfs(BASE)
    fill(mount, "a", CONTENT)
    assert reload(mount) == [f"{DONE}nothing changed"]
    assert reload(mount, f"# a comment\n{BASE}") == [f"{DONE}nothing changed"]
    assert mount.disk("a").read_bytes()[:MIB] == CONTENT


def test_what_may_change_changes(zramfs):
    mount = zramfs(BASE)
    fill(mount, "a", CONTENT)
    lines = reload(mount, "[a]\ndisksize = 8M\nmem_limit = 5M\nmode = 0640\nswap_priority = 7\n"
                          "[b]\ndisksize = 16M\n")
    assert lines == [f"{DONE}mem_limit of a, mode of a, swap_priority of a"]
    assert mount.mm_stat("a").mem_limit == 5 * MIB
    assert mode(mount, "a") == 0o640 and mode(mount, "b") == 0o600
    assert mount.get("a", "swap_priority") == "7\n"
    assert mount.disk("a").read_bytes()[:MIB] == CONTENT


def test_what_was_set_by_hand(zramfs):
    """It stays where the file says nothing and said nothing; else the file has the last word."""
    mount = zramfs("[a]\ndisksize = 8M\nmem_limit = 4M\n[b]\ndisksize = 8M\n")
    for disk in ("a", "b"):
        mount.set(disk, "mem_limit", "2M")
        mount.set(disk, "swap_priority", "9")
        os.chmod(mount.disk(disk), 0o640)
    assert reload(mount) == [f"{DONE}mem_limit of a"]
    assert mount.mm_stat("a").mem_limit == 4 * MIB
    assert mount.mm_stat("b").mem_limit == 2 * MIB
    for disk in ("a", "b"):
        assert mount.get(disk, "swap_priority") == "9\n" and mode(mount, disk) == 0o640

    # The default, said in so many words, is said.
    assert reload(mount, "[a]\ndisksize = 8M\nmem_limit = 4M\nmode = 0600\n"
                         "[b]\ndisksize = 8M\n") == [f"{DONE}mode of a"]
    os.chmod(mount.disk("a"), 0o666)
    assert reload(mount) == [f"{DONE}mode of a"] and mode(mount, "a") == 0o600

    assert reload(mount, "[a]\ndisksize = 8M\n[b]\ndisksize = 8M\nswap_priority = 3\n") == [
        f"{DONE}mem_limit of a, swap_priority of b"]
    assert mount.mm_stat("a").mem_limit == 0, "no longer said"
    assert (mount.get("a", "swap_priority"), mount.get("b", "swap_priority")) == ("9\n", "3\n")


def test_a_limit_of_all_that_was_set_by_hand_stays(zramfs):
    mount = zramfs("[a]\ndisksize = 8M\n")
    limit = mount.point / ".control/zramfs/mem_limit"
    limit.write_text("100M")
    assert reload(mount) == [f"{DONE}nothing changed"]
    assert limit.read_text() == f"{100 * MIB}\n"
    assert reload(mount, "[zramfs]\nmem_limit = 50M\n[a]\ndisksize = 8M\n") == [
        f"{DONE}mem_limit of all disks"]
    limit.write_text("100M")
    assert reload(mount) == [f"{DONE}mem_limit of all disks"]
    assert limit.read_text() == f"{50 * MIB}\n"


def test_a_disk_that_was_removed_or_renamed_by_hand_is_not_made_again(zramfs):
    mount = zramfs(BASE)
    os.unlink(mount.disk("a"))
    os.rename(mount.disk("b"), mount.disk("mine"))
    assert reload(mount) == [f"{DONE}nothing changed"]
    assert names(mount) == ["mine"]
    assert reload(mount, f"{BASE}[c]\ndisksize = 1M\n") == [f"{DONE}disk c is new"]
    assert names(mount) == ["c", "mine"]
    # Its section went and came back: that is a new one.
    reload(mount, "[c]\ndisksize = 1M\n")
    assert reload(mount, "[a]\ndisksize = 2M\n[c]\ndisksize = 1M\n") == [f"{DONE}disk a is new"]


def test_what_came_by_standard_input_came_once(zramfs):
    """It is /dev/null for a daemon, which would be a configuration of nothing."""
    mount = zramfs(BASE)
    mount.config.unlink()
    os.symlink("/dev/null", mount.config)
    lines = reload(mount)
    assert len(lines) == 1 and "nothing to read again" in lines[0]
    assert names(mount) == ["a", "b"]


def test_a_limit_holds_from_then_on(zramfs):
    mount = zramfs("[a]\ndisksize = 8M\n")
    reload(mount, "[a]\ndisksize = 8M\nmem_limit = 1M\n")
    with open(mount.disk("a"), "r+b", buffering=0) as file:
        assert errno_of(file.write, os.urandom(4 * MIB)) != 0 or file.tell() < 4 * MIB
    assert mount.mm_stat("a").mem_used_total <= 2 * MIB
    reload(mount, "[a]\ndisksize = 8M\n")
    fill(mount, "a", os.urandom(4 * MIB))


def test_new_sections_are_new_disks(zramfs):
    mount = zramfs(BASE)
    assert names(mount) == ["a", "b"]
    before = os.stat(mount.point).st_mtime_ns
    lines = reload(mount, f"{BASE}[c]\ndisksize = 1M\nformat = swap\nmode = 0644\n")
    assert lines == [f"{DONE}disk c is new"]
    assert names(mount) == ["a", "b", "c"]
    assert os.stat(mount.point).st_mtime_ns > before
    assert mount.disk("c").read_bytes()[4086:4096] == b"SWAPSPACE2"
    assert mode(mount, "c") == 0o644
    fill(mount, "c", b"x")


def test_a_section_that_is_gone_removes_nothing(zramfs):
    mount = zramfs(BASE)
    fill(mount, "b", CONTENT)
    lines = reload(mount, "[a]\ndisksize = 8M\nmem_limit = 4M\n")
    assert lines == ["disks no longer in the configuration stay as they are: b",
                     f"{DONE}nothing changed"]
    assert mount.disk("b").read_bytes()[:MIB] == CONTENT
    assert os.stat(mount.disk("b")).st_size == 16 * MIB
    assert reload(mount) == [f"{DONE}nothing changed"], "it is said once"


@pytest.mark.parametrize("text, where", [
    ("[a]\ndisksize = 8M\nmem_limit = 1M\n[b]\nmode = rw\n[c]\n", ":5: mode = rw: "),
    ("[a]\nmem_limit = 1M\n[c]\n[c]\n", ":4: [c]: "),
    ("[a]\nmem_limit = 1M\n[c\n", ":3: [c: "),
    ("[zramfs]\nthreads = 1000\n[a]\nmem_limit = 1M\n[c]\n", ":2: threads = 1000: "),
    ("[c]\n[zram0]\nzram-size = (ram\n", ":3: zram-size = (ram: "),
])
def test_a_file_with_an_error_changes_nothing(zramfs, text, where):
    mount = zramfs(BASE)
    lines = reload(mount, text)
    assert len(lines) == 2 and lines[0].startswith(f"{mount.config}{where}")
    assert lines[1] == f"{FAILED}nothing changed"
    assert names(mount) == ["a", "b"]
    assert mount.mm_stat("a").mem_limit == 4 * MIB
    assert reload(mount, BASE) == [f"{DONE}nothing changed"]


def test_a_file_that_is_gone_or_no_file_changes_nothing(zramfs):
    mount = zramfs(BASE)
    mount.config.unlink()
    assert "No such file" in reload(mount)[0]
    os.mkfifo(mount.config)
    assert "a pipe or a socket" in reload(mount)[0]
    mount.config.unlink()
    mount.config.mkdir()
    assert "Is a directory" in reload(mount)[0]
    mount.config.rmdir()
    assert names(mount) == ["a", "b"]
    assert reload(mount, BASE) == [f"{DONE}nothing changed"]


def test_a_disk_that_cannot_be_made_changes_nothing(zramfs):
    """More disks than there can be: those that a person made count, and no file knows of them."""
    mount = zramfs("".join(f"[d{i}]\ndisksize = 4K\n" for i in range(1000)))
    for i in range(20):
        mount.disk(f"mine{i}").touch()
    lines = reload(mount, "[d0]\ndisksize = 4K\nmode = 0666\n" +
                   "".join(f"[e{i}]\ndisksize = 4K\n" for i in range(5)))
    assert lines[0].startswith("disk e3: cannot make it: ")
    assert lines[-1].startswith(FAILED)
    assert not mount.disk("e0").exists() and mode(mount, "d0") == 0o600
    assert len(names(mount)) == 1020


def test_what_may_not_change_is_named(zramfs):
    mount = zramfs(BASE)
    lines = reload(mount, "[a]\ndisksize = 9M\nmem_limit = 4M\ncomp_algorithm = zstd\n"
                          "algorithm_params = level=5\nformat = swap\nlabel = x\n"
                          "uuid = 12345678-9abc-def0-1234-56789abcdef0\nmode = 0644\n"
                          "[b]\ndisksize = 16M\n")
    assert lines == ["disk a: comp_algorithm, algorithm_params, format, label, uuid, disksize: "
                     "cannot change while the disk has a size; as before", f"{DONE}mode of a"]
    assert os.stat(mount.disk("a")).st_size == 8 * MIB
    assert "[lz4]" in mount.get("a", "comp_algorithm")


def test_a_size_that_nobody_names_is_no_change(zramfs):
    """truncate resizes; a file that says no size, or what was, does not take it back."""
    mount = zramfs("[a]\n[b]\ndisksize = 16M\n")
    os.truncate(mount.disk("a"), 5 * MIB)
    assert reload(mount) == [f"{DONE}nothing changed"]
    assert os.stat(mount.disk("a")).st_size == 5 * MIB
    lines = reload(mount, "[a]\ndisksize = 6M\n[b]\ndisksize = 16M\n")
    assert lines[0].startswith("disk a: disksize: cannot change")
    assert os.stat(mount.disk("a")).st_size == 5 * MIB


def test_a_disk_without_size_is_what_the_file_says(zramfs):
    mount = zramfs("[a]\ndisksize = 8M\n[b]\n")
    mount.set("a", "reset", "1\n")
    mount.set("b", "reset", "1\n")
    lines = reload(mount, "[a]\ndisksize = 9M\ncomp_algorithm = zstd\nformat = swap\n"
                          "[b]\ncomp_algorithm = zstd\nalgorithm_params = level=7\n")
    assert lines == [f"{DONE}comp_algorithm of a, format of a, disksize of a, "
                     "comp_algorithm of b, algorithm_params of b"]
    assert os.stat(mount.disk("a")).st_size == 9 * MIB
    assert mount.disk("a").read_bytes()[4086:4096] == b"SWAPSPACE2"
    assert os.stat(mount.disk("b")).st_size == 0
    assert "[zstd]" in mount.get("b", "comp_algorithm")


def test_the_daemon(zramfs):
    mount = zramfs("[zramfs]\nthreads = 2\n[a]\ndisksize = 8M\n")
    limit = mount.control("zramfs", "mem_limit")
    again = "[zramfs]\nthreads = 3\nmem_limit = 1M\n[a]\ndisksize = 8M\n"
    lines = reload(mount, again)
    assert lines == ["threads: changes when it is mounted anew; as before",
                     f"{DONE}mem_limit of all disks"]
    assert limit.read_text() == f"{MIB}\n"
    assert mount.control("zramfs", "threads").read_text() == "2\n"
    assert reload(mount) == ["threads: changes when it is mounted anew; as before",
                             f"{DONE}nothing changed"], "it is not yet so"


def test_a_limit_of_the_daemon_at_start(zramfs):
    mount = zramfs("[zramfs]\nmem_limit = 64M\n[a]\ndisksize = 8M\n")
    assert mount.control("zramfs", "mem_limit").read_text() == f"{64 * MIB}\n"


def test_defaults_are_those_of_disks_to_come(zramfs):
    mount = zramfs("[a]\ndisksize = 8M\n")
    mount.disk("first").touch()
    reload(mount, "[defaults]\ncomp_algorithm = zstd\nmem_limit = 3M\n[a]\ndisksize = 8M\n"
                  "comp_algorithm = lz4\n")
    mount.disk("second").touch()
    assert "[lz4]" in mount.get("first", "comp_algorithm")
    assert "[zstd]" in mount.get("second", "comp_algorithm")
    assert mount.mm_stat("a").mem_limit == 3 * MIB, "it says no other"


def test_warnings_are_said_once(zramfs):
    doubtful = "[a]\ndisksize = 8M\nmem_limit = 1M\n"
    likely = "mem_limit is likely to be reached"
    mount = zramfs(doubtful)
    assert mount.said().count(likely) == 1
    assert reload(mount) == [f"{DONE}nothing changed"]
    lines = reload(mount, f"{doubtful}[zram0]\noptions = discard\nzram-size = 1\n")
    assert lines == [f"{mount.config}: ignored, as they mean nothing here: line 5 options",
                     f"{DONE}disk zram0 is new"]
    assert mount.said().count(likely) == 1


def test_without_a_file_there_is_nothing_to_read(zramfs):
    mount = zramfs()
    assert reload(mount) == ["no configuration was named with -c: nothing to read again"]
    assert names(mount) == ["zram0"]


def test_a_relative_path_is_that_of_the_start(place, zramfs, monkeypatch):
    """The daemon changes its directory when it goes to the background."""
    monkeypatch.chdir(place)
    (place / "relative.ini").write_text("[a]\ndisksize = 8M\n")
    mount = zramfs(None, "-c", "relative.ini", foreground=False)
    (place / "relative.ini").write_text("[a]\ndisksize = 8M\n[b]\ndisksize = 1M\n")
    hang_up(mount)
    wait_until(lambda: names(mount) == ["a", "b"], what="the new disk")


def test_in_the_background(zramfs):
    mount = zramfs(BASE, foreground=False)
    mount.config.write_text(f"{BASE}mode = 0644\n[c]\n")
    hang_up(mount)
    wait_until(mount.disk("c").exists, what="the new disk")
    wait_until(lambda: mode(mount, "b") == 0o644, what="the new mode")


@pytest.mark.parametrize("foreground", [True, False])
def test_as_a_user(zramfs, user, fuse_for_all, foreground):
    mount = zramfs(BASE, user=user, foreground=foreground)
    mount.config.write_text(f"{BASE}mode = 0644\n[c]\ndisksize = 1M\n")
    hang_up(mount)

    def seen():
        """Nobody else may look into a user's mount."""
        done = run("stat", "-c", "%a %n", mount.disk("b"), mount.disk("c"), user=user, check=False)
        return done.returncode == 0 and done.stdout.splitlines()[0].startswith("644 ")

    wait_until(seen, what="the new disk and the new mode")


def test_a_hundred_in_a_row_under_input_and_output(zramfs):
    mount = zramfs("[a]\ndisksize = 16M\n")
    data, stop, failed = text_pages(4 * MIB // PAGE), threading.Event(), []

    def work():
        fd = os.open(mount.disk("a"), os.O_RDWR)
        while not stop.is_set():
            os.pwrite(fd, data, PAGE)
            if os.pread(fd, len(data), PAGE) != data:
                failed.append("other data")
        os.close(fd)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for i in range(100):
            limit = 64 + i % 2
            mount.config.write_text(f"[a]\ndisksize = 16M\nmem_limit = {limit}M\n[n{i}]\n"
                                    "disksize = 1M\n")
            hang_up(mount)
            if i % 10 == 9:
                wait_until(mount.disk(f"n{i}").exists, what=f"disk n{i}")
    finally:
        stop.set()
        worker.join()
    assert not failed
    wait_until(lambda: mount.mm_stat("a").mem_limit == 65 * MIB, what="the last limit")
    assert os.path.exists(mount.disk("n99"))
    assert FAILED not in mount.said()


def test_it_does_not_count_as_a_wish_to_end(zramfs):
    """A refused SIGTERM, and then SIGHUP: the next SIGTERM alone would be the second."""
    mount = zramfs(BASE)
    with open(mount.disk("a"), "rb"):
        reload(mount)
        reload(mount)
        assert mount.mounted()
    # The kernel tells of the closing a moment later, and a disk in use would refuse the first.
    wait_until(lambda: mount.stats()["a"]["InUse"].strip() == "0", what="a to be free")
    mount.signal(signal.SIGTERM)
    mount.wait()
    assert not mount.mounted()


def open_when_there(path, opened, over):
    while not opened and not over.is_set():
        with contextlib.suppress(FileNotFoundError):
            opened.append(open(path, "r+b", buffering=0))


def test_what_cannot_be_made_whole_goes_again_but_for_what_is_open(zramfs):
    """There are 1023 disks at most. Somebody has opened the first new one before the last is
    refused."""
    mount = zramfs(BASE)
    for i in range(500):
        mount.hot_add(f"old{i}")
    config = BASE + "".join(f"[new{i}]\ndisksize = 1M\n" for i in range(600))
    before = names(mount)
    lines, opened = [], []
    for _ in range(50):  # it has some 50 ms
        over = threading.Event()
        opener = threading.Thread(target=open_when_there,
                                  args=(mount.disk("new0"), opened, over))
        opener.start()
        lines = reload(mount, config)
        over.set()
        opener.join()
        assert lines[-1].startswith(FAILED) and lines[-1].endswith("nothing changed")
        if opened:
            break
        assert names(mount) == before
    assert "disk new0: in use already, so it stays" in lines
    with opened[0] as file:
        assert os.pwrite(file.fileno(), CONTENT[:PAGE], 0) == PAGE
        assert os.pread(file.fileno(), PAGE, 0) == CONTENT[:PAGE]
    assert names(mount) == sorted([*before, "new0"])


def spare_of(mount):
    found = kills.processes_of(mount) - {kills.keeper(mount), kills.generation(mount).pid}
    return found.pop() if len(found) == 1 else None


def test_who_is_to_follow_has_what_was_read(zramfs):
    """The spare worker is made anew, at once, if something was changed, and else stays."""
    mount = zramfs(BASE)
    kills.settled(mount)
    spare = spare_of(mount)
    reload(mount, BASE)
    reload(mount, BASE)
    assert spare_of(mount) == spare
    reload(mount, f"{BASE}[c]\ndisksize = 1M\n")
    wait_until(lambda: spare_of(mount) not in (None, spare), what="another one")
    served, _ = kills.kill(mount)
    kills.next_generation(mount, served)
    assert reload(mount, f"{BASE}[c]\ndisksize = 1M\n[d]\ndisksize = 1M\n") == [
        f"{DONE}disk d is new"]
    assert names(mount) == ["a", "b", "c", "d"]
