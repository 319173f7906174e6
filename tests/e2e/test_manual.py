"""The manual pages name all that there is, and nothing else: options, verbs, columns, figures."""

import os
import re

import pytest

from documents import CTL, what_is_not_said, verbs
from host import lacking, run
from zramfs import BINARY, MIB

PAGES = ("zramfs.8", "zramfsctl.8", "zramfs.ini.5")


def source(page):
    return (BINARY.parent / page).read_text()


def section(page, title):
    """The source of a section."""
    found = re.search(rf"(?ms)^\.Sh {title}\n(.*?)(?=^\.Sh |\Z)", source(page))
    assert found, f"{page} has no section {title}"
    return found[1]


def items(text):
    """The heads of its lists, as lists of words without the marks between them."""
    return [[word for word in line.split() if word not in (",", "Cm", "Fl", "Ar", "Ns", "=")]
            for line in re.findall(r"(?m)^\.It (.+)$", text)]


def names_of(text):
    return {name for item in items(text) for name in item}


# Options, verbs, columns

def options(text):
    """{option} of a text of help: -x and --long."""
    return set(re.findall(r"(?<![\w-])(--?[a-zA-Z][\w-]*)", text))


def rendered(page):
    if lacking("mandoc"):
        pytest.skip("no mandoc")
    text = run("mandoc", "-T", "utf8", BINARY.parent / page).stdout
    return re.sub(".\b", "", text).replace("−", "-").replace("‐", "-")


def test_options_of_zramfs():
    told = options(rendered("zramfs.8"))
    assert options(run(BINARY, "--help").stdout) - {"-u", "-HUP"} <= told


def test_verbs_and_their_options():
    text = rendered("zramfsctl.8")
    told = options(text)
    described = names_of(section("zramfsctl.8", "DESCRIPTION"))
    assert verbs() <= described
    for verb in verbs():
        asked = run(CTL, "help", verb).stdout.split("Attributes of")[0]
        assert options(asked) <= told, verb
        assert re.search(rf"(?m)^ +zramfsctl (\[)?{verb}\b", text), f"{verb} is not in the synopsis"


def test_columns():
    there = run(CTL, "help", "--list-columns").stdout.split()
    assert names_of(section("zramfsctl.8", "COLUMNS")) == set(there)


# Figures

@pytest.fixture
def backed(zramfs, place):
    """With a limit, so that every figure is there."""
    mount = zramfs(f"[zramfs]\nmem_limit = 64M\n[disk0]\ndisksize = 16M\nmem_limit = 8M\n"
                   f"backing_dev = {place}/backing\nbacking_size = 16M\nbacking_limit = 8M\n")
    mount.disk("disk0").write_bytes(os.urandom(MIB))
    mount.set("disk0", "writeback", "huge")
    return mount


def statistics(title):
    found = re.search(rf"(?ms)^\.Ss {title}\n(.*?)(?=^\.Ss |\Z)",
                      section("zramfs.8", "STATISTICS"))
    return found[1]


def test_every_figure(backed):
    """Those of .stats, .stats.json and .metrics, and no others."""
    text, told = backed.stats(), backed.json()
    disk, total = statistics("Figures of a disk"), statistics("Figures of all disks")
    settings = {"name", "comp_algorithm", "algorithm_params", "format", "swap_priority",
                "backing_dev"}
    assert names_of(disk) == set(text["disk0"]) | set(told["disks"][0]) - settings
    assert names_of(total) == set(text["total"]) | set(told["total"])
    intro = section("zramfs.8", "STATISTICS").split(".Ss")[0]
    for name in settings | set(told):
        assert re.search(rf"\b{name}\b", intro), name

    metrics = (backed.point / ".metrics").read_text()
    there = set(re.findall(r"(?m)^# TYPE (\w+) ", metrics))
    assert set(re.findall(r"\bzramfs_\w+", section("zramfs.8", "STATISTICS"))) == there


def test_units_are_those_of_the_metrics(backed):
    """A figure in bytes is called so; what is counted ends in _total."""
    for unit, metric in re.findall(r"(?m)^\.Pq (.+) ; Cm (zramfs_\w+)$",
                                   section("zramfs.8", "STATISTICS")):
        assert metric.endswith("_bytes") == (unit == "bytes"), metric
        assert metric.endswith("_total") == unit.endswith(", counted"), metric
    assert re.search(r"(?m)^\.Pq pages, counted ; Cm zramfs_read_pages_total$",
                     source("zramfs.8"))


# Sections, messages, form

@pytest.mark.parametrize("page, titles", [
    ("zramfs.8", ["ENVIRONMENT", "FILES", "EXIT STATUS", "EXAMPLES", "DIAGNOSTICS", "SEE ALSO"]),
    ("zramfsctl.8", ["ENVIRONMENT", "FILES", "EXIT STATUS", "EXAMPLES", "DIAGNOSTICS",
                     "SEE ALSO"]),
    ("zramfs.ini.5", ["FILES", "EXAMPLES", "DIAGNOSTICS", "SEE ALSO"]),
])
def test_sections(page, titles):
    assert [title for title in re.findall(r"(?m)^\.Sh (.+)$", source(page))
            if title in titles] == titles


@pytest.mark.parametrize("page", ["zramfs.8", "zramfsctl.8"])
def test_messages_are_what_is_said(page):
    messages = re.findall(r'(?m)^\.It "(.+)"$', section(page, "DIAGNOSTICS"))
    assert len(messages) >= 8
    for message in messages:
        assert what_is_not_said(message) == "", message


def test_what_is_said_of_exit_statuses(place):
    assert run(BINARY, "--nonsense", check=False).returncode == 1
    assert run(BINARY, "--check-config", place / "none.ini", check=False).returncode == 1
    assert run(CTL, "nonsense", check=False).returncode == 2
    assert run(CTL, "list", place / "none", check=False).returncode == 1
    helper = place / "mount.fuse.zramfs"
    helper.symlink_to(BINARY)
    assert run(helper, "none", place / "none", "-f", check=False).returncode == 32
    assert [item[0] for item in items(section("zramfs.8", "EXIT STATUS"))] == ["0", "1", "32"]
    assert [item[0] for item in items(section("zramfsctl.8", "EXIT STATUS"))] == ["0", "1", "2"]


def test_examples_of_the_configuration_load(place):
    """With the backing files of a test: those of the page are devices that are not there."""
    text = section("zramfs.ini.5", "EXAMPLES")
    blocks = re.findall(r"(?ms)^\.Bd -literal.*?\n(.*?)^\.Ed", text)
    assert len(blocks) >= 4
    for i, block in enumerate(blocks):
        path = place / f"{i}.ini"
        path.write_text(re.sub(r"(?m)^(backing_dev = ).*$", rf"\g<1>{place}/backing",
                               block.replace("\\-", "-")))
        done = run(BINARY, "--check-config", path)
        assert "disksize = " in done.stdout
        assert "likely" not in done.stderr  # of how much memory there is it may warn


@pytest.mark.parametrize("width", [60, 80, 132])
@pytest.mark.parametrize("page", PAGES)
def test_man_shows_it_without_a_warning(page, width):
    if lacking("man", "groff"):
        pytest.skip("no man")
    env = {"MANWIDTH": str(width), "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": ""}
    done = run("man", "--warnings", "-E", "UTF-8", "-l", BINARY.parent / page, env=env)
    assert done.stderr == ""
    assert done.stdout.count("\n") > 60
