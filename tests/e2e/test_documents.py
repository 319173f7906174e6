"""What README.md and the pages of contrib/doc say is typed here, as it stands there.

Commands run in a mount namespace of their own, in which /mnt is empty and no other zramfs is to be
seen; of what they make nothing is left.
"""

import pathlib
import re

import pytest

from documents import (anchors, commands, fenced, lacks_command, links, ours_wrong,
                       what_is_not_said)
from host import Alone, run
from test_ctl import alone_prefix
from zramfs import BINARY, CTL, ROOT

FROM_ZRAM = ROOT / "contrib/doc/from-zram.md"
TROUBLES = ROOT / "contrib/doc/troubleshooting.md"
README = ROOT / "README.md"

# Installed by nobody here, and named for what it was.
NOT_OURS = {"rzscontrol", "zramswap"}
ASIDE = re.compile(r"\w+=.*")  # an assignment


def pages():
    """The Markdown of the tree."""
    return sorted(path for path in ROOT.rglob("*.md")
                  if not any(part.startswith((".", "build")) for part in
                             path.relative_to(ROOT).parts))


def relative(path):
    return str(path.relative_to(ROOT))


# Links, commands, messages

@pytest.mark.parametrize("page", pages(), ids=relative)
def test_links_lead_somewhere(page):
    for text, target in links(page):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"[{text}]({target})"
        assert ROOT in there.parents, f"[{text}]({target}) leads out of the tree"
        if anchor:
            assert anchor in anchors(there), f"[{text}]({target}): no such heading"


def shell_blocks(page):
    return [block for block in fenced(page) if block[0] in ("sh", "bash", "console")]


@pytest.mark.parametrize("page", pages(), ids=relative)
def test_commands_are_there(page):
    """Ours with the verbs and options that they have; others where Debian installs them."""
    for _, number, text in shell_blocks(page):
        for words in commands(text):
            while words and ASIDE.fullmatch(words[0]):
                words = words[1:]
            if not words:
                continue
            name, where = pathlib.Path(words[0]).name, f"{relative(page)}:{number}: {words}"
            if name in ("zramfs", "zramfsctl"):
                assert ours_wrong(words) is None, f"{where}: {ours_wrong(words)}"
            elif "/" in words[0] and not words[0].startswith("/"):
                assert (ROOT / words[0]).exists() or (page.parent / words[0]).exists(), where
            elif page in (README, FROM_ZRAM, TROUBLES):
                assert name in NOT_OURS or lacks_command([name]) is None, where


def test_messages_are_what_is_said():
    """In blocks of text: lines of ours, and of other programs, which are made again below."""
    ours = [line for language, _, text in fenced(TROUBLES) if language == "text"
            for line in text.splitlines() if re.match(r"zramfs(ctl)?: ", line)]
    assert len(ours) >= 15
    for line in ours:
        assert what_is_not_said(line.split(": ", 1)[1]) == "", line


@pytest.mark.parametrize("picture, directory", [
    ("lib/README", "lib"), ("zramfs/README", "zramfs"), ("zramfs/README", "zramfs/ctl")])
def test_pictures_name_every_module(picture, directory):
    """And nothing that is not there. A noun of several files is named once: attr for attr-ours.c."""
    text = (ROOT / picture).read_text()
    modules = {path.stem for path in (ROOT / directory).glob("*.[ch]")}
    for module in modules:
        noun = module.split("-")[0] if module.split("-")[0] in modules else module
        assert any(re.search(rf"(?<![\w-]){name}(?![\w-])", text) for name in (module, noun)), module
    if directory == "zramfs":  # a tree: a module at the head of each line
        drawn = text.split("A thread that serves disks never waits")[0]
        for name in re.findall(r"(?m)^ +([a-z-]+) {2,}\S", drawn):
            assert name in modules, name


def test_a_message_that_nobody_says_is_found():
    assert what_is_not_said("disk0: there is a disk of that name already") == ""
    assert what_is_not_said("disk0: there is a disk of that colour already").endswith("colour already")
    assert what_is_not_said("the disk of memory in the file is not used") != ""


# Typing it

PROLOGUE = r"""
set -euo pipefail
mount -t tmpfs none /mnt
mkdir /mnt/z /mnt/tmp
mine=$(readlink /proc/self/ns/mnt)
serving() {
	for process in /proc/[0-9]*; do
		[ "$(readlink "$process/ns/mnt")" = "$mine" ] || continue
		grep -qx 'zramfs' "$process/comm" && echo "${process#/proc/}"
	done 2>/dev/null || true
}
undo() {
	set +e
	cd /
	! mountpoint -q /mnt/tmp/ || umount /mnt/tmp
	zramfsctl list --noheadings --raw --output DEVICE 2>/dev/null | while read -r device; do
		[ -z "$device" ] || zramfsctl detach --force "$device"
	done
	for try in 1 2 3 4 5 6 7 8 9; do
		! mountpoint -q /mnt/z || umount /mnt/z 2>/dev/null
		[ -n "$(serving)" ] || return
		sleep 0.$try
	done
	echo "left: $(serving)" >&2
	kill -9 $(serving)
	exit 99
}
trap undo EXIT
"""


@pytest.fixture
def typed(place):
    """typed(script, **files): what it prints. Files are made where it runs."""
    path = place / "bin"
    path.mkdir()
    (path / "zramfs").symlink_to(BINARY)
    (path / "zramfsctl").symlink_to(CTL)

    alone = None

    def call(script, **files):
        nonlocal alone
        alone = alone or Alone("swap")
        for name, text in files.items():
            (place / name.replace("_ini", ".ini")).write_text(text)
        script = script.replace("/etc/systemd/zram-generator.conf",
                                f"{place}/zram-generator.conf")
        return run(*alone_prefix(place), "bash", "-c", f"PATH={path}:$PATH\n{PROLOGUE}{script}",
                   cwd=place, timeout=120)

    yield call
    if alone:
        alone.release()


def with_real_device(script):
    """A device that losetup prints is not always the first."""
    assert re.search(r"(?m)^losetup .*--show", script)
    return re.sub(r"(?m)^(losetup .*--show .*)$", r"device=$(\1)", script).replace("/dev/loop0",
                                                                                  '"$device"')


@pytest.mark.loop
@pytest.mark.needs("mkfs.ext4")
def test_the_main_job_of_the_readme(typed):
    sample = (ROOT / "conf/zram.ini").read_text()
    _, main, tool, user, _ = [text for language, _, text in fenced(README) if language == "sh"]
    little, = [text for language, _, text in fenced(README) if language == "ini"]
    for config in (sample, little):
        done = typed(with_real_device(main), zram_ini=config)
        assert "[swap0]\n" in done.stdout and "InUse:\t       1\n" in done.stdout
        done = typed(re.sub("zramfsctl check.*", "zramfsctl check || true", tool), zram_ini=config)
        assert re.search(r"(?m)^swap0 .*\[SWAP\]$", done.stdout)
        assert "swapping to a disk" in done.stdout

    image = "truncate -s 8M image && mkdir -p home/z && HOME=$PWD/home && ln -s /mnt/z home/y\n"
    typed(image + user.replace("~/z", "~/y") + "cmp -n 8388608 image /mnt/z/image",
          zram_ini=sample)


def test_the_readme_at_boot():
    """Units, scripts and files that it names are there; tests/boot and tests/install do what it says."""
    *_, boot = [text for language, _, text in fenced(README) if language == "sh"]
    units = set(re.findall(r"(zramfs[\w-]*@)mnt-z[.]service", boot))
    assert units
    for unit in units:
        assert (ROOT / f"contrib/systemd/{unit}.service.in").exists(), unit
    for path in re.findall(r"(?<!\S)((?:conf|contrib)/\S+)", boot):
        assert (ROOT / path).exists(), path
    assert "/etc/zramfs/mnt-z.ini" in boot


def rows(page, title):
    """The cells of the tables below a heading."""
    text = re.search(rf"(?ms)^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page.read_text())[1]
    found = [[cell.strip() for cell in line.strip("| ").split(" | ")]
             for line in text.splitlines() if line.startswith("| ")]
    assert found, title
    return found


def right_column(title):
    """The commands there, from top to bottom."""
    found = []
    for row in rows(FROM_ZRAM, title):
        found += [code for code in re.findall("`([^`]+)`", row[-1])
                  if re.match("zramfs |zramfsctl|echo |cat |mkswap |umount ", code + " ")]
    return found


def blocks_below(title):
    text = re.search(rf"(?ms)^## {re.escape(title)}\n(.*?)(?=^## |\Z)", FROM_ZRAM.read_text())[1]
    return re.findall(r"(?ms)^```(\w+)\n(.*?)^```", text)


def traced(lines):
    return "set -x\n" + "\n".join(lines) + "\n"


@pytest.mark.loop
def test_what_was_typed_in_sys(typed, place):
    lines = right_column("By hand, in /sys")
    assert len(lines) >= 25 and lines[-1] == "umount /mnt/z"
    (_, variables), = blocks_below("By hand, in /sys")
    backing = f"{place}/backing"
    script = variables + traced(lines).replace("/var/tmp/zramfs-backing", backing)
    # As a device whose writes reached it: there is something to recompress and to write back.
    script = script.replace("echo all >$z/idle\n",
                            "head -c 1M /dev/urandom >/mnt/tmp/r\n"
                            "dd if=/mnt/tmp/r of=/mnt/z/zram0 conv=notrunc seek=64 bs=1M\n"
                            "echo all >$z/idle\n", 1)
    done = typed(script)
    assert re.search(r"(?m)^ +\d+ +\d+ +\d+ 134217728 ", done.stdout), "mm_stat with its limit"
    assert done.stdout.count("\n") > 5


def test_what_zramctl_was_asked(typed):
    lines = right_column("zramctl")
    assert len(lines) >= 12
    assert lines[0] == "zramfs /mnt/z"
    done = typed(traced(lines).replace("zramfsctl check\n", "zramfsctl check || true\n"))
    assert "/mnt/z/zram1\n/mnt/z/zram2\n" in done.stdout


@pytest.mark.loop
def test_a_file_of_zram_generator(typed, place):
    (place / "zram-generator.conf").write_text("[zram0]\nzram-size = min(ram / 2, 64)\n"
                                               "compression-algorithm = lzo-rle zstd(level=3)\n")
    (_, script), = blocks_below("zram-generator")
    done = typed(script + "zramfsctl get zram0 disksize recomp_algorithm\nzramfsctl\n")
    assert "disksize=67108864\n" in done.stdout and "[SWAP]" in done.stdout


@pytest.mark.parametrize("title", ["zram-generator", "zram-tools", "zram-init"])
def test_keys_are_those_of_the_configuration(place, title):
    """Each "key = value" of a right column loads."""
    values = [code for row in rows(FROM_ZRAM, title)
              for code in re.findall("`([a-z_]+ = [^`]+)`", row[-1])]
    assert len(values) >= 4
    for i, line in enumerate(values):
        path = place / f"{i}.ini"
        path.write_text(f"[a]\n{line}\n" + ("disksize = 1G\n" if "disksize" not in line else ""))
        run(BINARY, "--check-config", path)


def test_left_columns_of_zram_generator_load_as_they_are(place):
    lines = [code for row in rows(FROM_ZRAM, "zram-generator")
             for code in re.findall("`([a-z-]+ = [^`]+)`", row[0])]
    assert len(lines) >= 7
    path = place / "zram-generator.conf"
    path.write_text("[zram0]\n" + "\n".join(lines) + "\n")
    run(BINARY, "--check-config", path)


@pytest.mark.loop
def test_what_zram_tools_were_asked(typed):
    (_, config), = blocks_below("zram-tools")
    lines = right_column("zram-tools")
    assert len(lines) == 5
    assert "[SWAP]" in typed(traced(lines), zram_ini=config).stdout


@pytest.mark.loop
@pytest.mark.needs("mkfs.ext4")
def test_a_filesystem_for_tmp(typed):
    (_, script), = blocks_below("zram-init")
    done = typed(script + "df --output=target /mnt/tmp | tail -1\n", tmp_ini="[tmp]\ndisksize=64M\n")
    assert done.stdout.endswith("/mnt/tmp\n")


SYMPTOMS = r"""
set +e
zramfs /mnt/z -c t.ini
zramfs /mnt/z
device=$(zramfsctl attach disk0)
umount /mnt/z
rm /mnt/z/disk0
zramfsctl remove disk0
zramfsctl detach disk0
zramfsctl set disk0 comp_algorithm=zstd
zramfsctl swapon disk0
swapon /mnt/z/swap0
dd if=/dev/urandom of=/mnt/z/disk0 bs=1M count=8 conv=notrunc status=none
zramfsctl upgrade /bin/true
umount /mnt/z
zramfs /mnt/z -c t.ini --no-keeper 2>/dev/null
kill -9 $(serving)
while [ -n "$(serving)" ]; do sleep 0.05; done
ls /mnt/z
zramfs /mnt/z
zramfsctl check /mnt/z
umount /mnt/z
"""


@pytest.mark.loop
def test_symptoms_are_what_is_seen(typed):
    """Made again, as far as that takes no minute: each line stands in the page."""
    done = typed(SYMPTOMS, t_ini="[disk0]\ndisksize = 64M\nmem_limit = 4M\n"
                                 "[swap0]\ndisksize = 64M\nformat = swap\n")
    page = [line for language, _, text in fenced(TROUBLES) if language == "text"
            for line in text.splitlines()]
    seen = [re.sub(r"/dev/loop\d+", "/dev/loop0", line).replace("t.ini", "zram.ini")
            for line in done.stderr.splitlines() if "not safe for swap" not in line]
    assert len(seen) >= 13, done.stderr
    for line in seen:
        assert line in page, line
