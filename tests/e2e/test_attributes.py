"""One table of attributes, seen four ways: configuration, .control/, zramfsctl, manual.

Each way is read as its users read it, and none is asked of the table: what one of them lacks shows.
"""

import os
import re
import stat

import pytest

from host import lacking, run
from zramfs import BINARY, CTL, ROOT

SAMPLE = ROOT / "conf/zram.ini"
PAGES = ("zramfs.8", "zramfsctl.8", "zramfs.ini.5")
READABLE, WRITABLE = 0o444, 0o222

# Written to make something happen: there is nothing that a configuration could say of them. Nor of
# what is left of a budget.
ACTIONS = {"reset", "compact", "idle", "mem_used_max", "max_comp_streams", "recompress", "writeback",
           "writeback_limit", "writeback_limit_enable"}
DAEMON_ACTIONS = {"upgrade"}


@pytest.fixture
def control(mount):
    """{"disk" or "daemon": {attribute: mode}} of what lies below .control/."""
    def modes(name):
        directory = mount.point / ".control" / name
        return {entry: stat.S_IMODE(os.stat(directory / entry).st_mode)
                for entry in os.listdir(directory)}
    return {"disk": modes("disk0"), "daemon": modes("zramfs")}


def sample_keys(*sections):
    """Keys of these sections of the sample, those among its comments too."""
    found, section = set(), None
    for line in SAMPLE.read_text().splitlines():
        heading = re.fullmatch(r"#?\[(\w+)\]", line)
        key = re.match(r"#?(\w+) = ?", line)
        if heading:
            section = heading[1]
        elif key and (section in sections or not sections):
            found.add(key[1])
    return found


def described():
    """{"disk" or "daemon": {attribute: set of words}} as zramfsctl describes them."""
    found = {"disk": {}, "daemon": {}}
    for line in run(CTL, "help", "--list-attributes").stdout.splitlines():
        scope, name, *words = line.split()
        assert name not in found[scope], f"{name} twice"
        found[scope][name] = set(words)
    return found


def manual(page):
    """The tagged items of a page as it is installed, from its source."""
    text = (BINARY.parent / page).read_text()
    assert not re.search("@[A-Z_]+@", text), f"{page}: something was not filled in"
    return set(re.findall(r"^\.It Cm (\w+)$", text, re.M))


def test_keys_of_disks_are_the_same_in_all_four(control):
    keys = sample_keys() - sample_keys("zramfs") | {"mem_limit"}
    assert keys == {name for name, words in described()["disk"].items() if "config" in words}
    assert keys <= control["disk"].keys()
    assert keys <= manual("zramfs.ini.5") and keys <= manual("zramfsctl.8")
    assert {name for name, mode in control["disk"].items() if mode & WRITABLE} - keys == ACTIONS


def test_keys_of_the_daemon_are_the_same_in_all_four(control):
    keys = sample_keys("zramfs") - {"num_devices"}
    assert keys == {name for name, words in described()["daemon"].items() if "config" in words}
    assert keys <= control["daemon"].keys()
    writable = {name for name, mode in control["daemon"].items() if mode & WRITABLE}
    assert writable - keys == DAEMON_ACTIONS
    for page in PAGES:
        assert keys <= manual(page), page


def test_control_files_are_all_described(control):
    for scope, modes in control.items():
        words = described()[scope]
        assert words.keys() == modes.keys()
        for name, mode in modes.items():
            assert ("read" in words[name]) == bool(mode & READABLE), name
            assert ("write" in words[name]) == bool(mode & WRITABLE), name
            assert name in manual("zramfs.8"), name


def test_help_explains_each(control):
    text = run(CTL, "help", "set").stdout
    for name in {**control["disk"], **control["daemon"]}:
        assert re.search(rf"^ +{name} \(", text, re.M), name
    assert max(map(len, text.splitlines())) <= 120


def test_what_control_says_is_what_the_configuration_takes(zramfs, control, mount):
    """Each key of a disk, read below .control/, is a value for the same key."""
    lines = []
    for name in sorted(sample_keys() - sample_keys("zramfs") | {"mem_limit"}):
        if control["disk"][name] & READABLE:
            value = mount.get("disk0", name).rstrip("\n")
            if name == "comp_algorithm":
                value = re.search(r"\[(.+)\]", value)[1]
            lines.append(f"{name} = {value}")
    again = zramfs("[disk0]\n" + "\n".join(lines) + "\n")
    for name, mode in control["disk"].items():
        if name in sample_keys() and mode & READABLE:
            assert again.get("disk0", name) == mount.get("disk0", name), name


@pytest.mark.parametrize("page", PAGES)
def test_manual_pages_are_well_formed(page):
    if lacking("mandoc"):
        pytest.skip("no mandoc")
    done = run("mandoc", "-T", "lint", "-W", "style", BINARY.parent / page, check=False)
    # Pages that are not installed yet cannot be found.
    complaints = [line for line in done.stdout.splitlines()
                  if "referenced manual not found" not in line and "mandoc.db" not in line]
    assert not complaints, "\n".join(complaints)
    assert run("mandoc", "-T", "utf8", BINARY.parent / page).stdout.count("\n") > 60
