"""Bad configuration: one line with file:line, the key, the value and what is allowed; no mount."""

import os

import pytest

from host import memory_total, run
from zramfs import BINARY, GIB, MIB, ROOT

NAME_63 = "n" * 63

# id: (text, number of the line at fault, words that the message must have)
BAD = {
    # Sections
    "section-leading-dot": ("[disk0]\n[.stats]\n", 2, [".stats"]),
    "section-slash": ("[a/b]\n", 1, ["a/b"]),
    "section-dot": ("[..]\n", 1, [".."]),
    "section-control-character": ("[a\tb]\n", 1, []),
    "section-too-long": (f"\n[{NAME_63}n]\n", 2, ["63"]),
    "section-empty-name": ("[]\n", 1, []),
    "section-hot_add": ("[hot_add]\n", 1, ["hot_add"]),
    "section-hot_remove": ("[hot_remove]\n", 1, ["hot_remove"]),
    "section-unclosed": ("[disk0\ndisksize = 1M\n", 1, ["disk0"]),
    "section-duplicate": ("[a]\ndisksize = 1M\n[b]\n[a]\n", 4, ["a"]),
    "section-duplicate-empty": ("[a]\n\n[a]\n", 3, ["a"]),
    # Keys
    "key-unknown": ("[disk0]\ndisk_size = 1M\n", 2, ["disk_size", "disksize"]),
    "key-unknown-in-defaults": ("[defaults]\nsize = 1M\n", 2, ["size", "disksize"]),
    "key-unknown-in-daemon": ("[zramfs]\nthread = 2\n", 2, ["thread", "threads"]),
    "key-of-a-disk-in-daemon": ("[zramfs]\ndisksize = 1M\n", 2, ["disksize", "threads"]),
    "key-of-the-daemon-in-disk": ("[disk0]\nthreads = 2\n", 2, ["threads", "disksize"]),
    "key-of-control-alone": ("[disk0]\nmm_stat = 1\n", 2, ["mm_stat"]),
    "key-before-any-section": ("disksize = 1M\n[disk0]\n", 1, ["disksize"]),
    "key-without-value": ("[disk0]\ndisksize\n", 2, ["disksize"]),
    "key-with-empty-value": ("[disk0]\ndisksize =\n", 2, ["disksize"]),
    "key-empty": ("[disk0]\n= 1M\n", 2, []),
    # Values
    "size-zero": ("[disk0]\ndisksize = 0\n", 2, ["disksize", "0"]),
    "size-zero-percent": ("[disk0]\ndisksize = 0%\n", 2, ["disksize", "0%"]),
    "size-negative": ("[disk0]\ndisksize = -1\n", 2, ["disksize", "-1"]),
    "size-word": ("[disk0]\ndisksize = large\n", 2, ["disksize", "large", "K"]),
    "size-bad-unit": ("[disk0]\ndisksize = 64MB\n", 2, ["disksize", "64MB"]),
    "size-two": ("[disk0]\ndisksize = 1M 2M\n", 2, ["disksize", "1M 2M"]),
    "size-too-large": ("[disk0]\ndisksize = 257T\n", 2, ["disksize", "257T", "256"]),
    "size-one-past": (f"[disk0]\ndisksize = {(256 << 40) + 1}\n", 2, ["disksize"]),
    "size-past-64-bits": ("[disk0]\ndisksize = 99999999999G\n", 2, ["disksize", "99999999999G"]),
    "size-64-bits-wrap": ("[disk0]\ndisksize = 18446744073709555712\n", 2, ["disksize"]),
    "size-in-defaults": ("[defaults]\ndisksize = 0\n", 2, ["disksize"]),
    "codec-unknown": ("[disk0]\n\n\ncomp_algorithm = lz5\n", 4,
                      ["comp_algorithm", "lz5", "lzo-rle", "lz4hc", "zstd"]),
    "codec-case": ("[disk0]\ncomp_algorithm = LZ4\n", 2, ["comp_algorithm", "LZ4", "lz4"]),
    "level-word": ("[disk0]\ncomp_algorithm = zstd\nalgorithm_params = level=high\n", 3,
                   ["algorithm_params", "high"]),
    "level-too-high": ("[disk0]\ncomp_algorithm = zstd\nalgorithm_params = level=99\n", 3,
                       ["algorithm_params", "99"]),
    "level-unknown-key": ("[disk0]\nalgorithm_params = depth=3\n", 2,
                          ["algorithm_params", "depth", "level"]),
    "level-without-value": ("[disk0]\nalgorithm_params = level\n", 2,
                            ["algorithm_params", "level"]),
    "limit-word": ("[disk0]\nmem_limit = lots\n", 2, ["mem_limit", "lots"]),
    "format-unknown": ("[disk0]\nformat = ext4\n", 2, ["format", "ext4", "none", "swap"]),
    "uuid-short": ("[disk0]\nformat = swap\nuuid = 1234\n", 3, ["uuid", "1234"]),
    "label-too-long": ("[disk0]\nformat = swap\nlabel = 12345678901234567\n", 3,
                       ["label", "12345678901234567", "16"]),
    "mode-not-octal": ("[disk0]\nmode = 0899\n", 2, ["mode", "0899"]),
    "mode-too-large": ("[disk0]\nmode = 17777\n", 2, ["mode", "17777"]),
    "threads-negative": ("[zramfs]\nthreads = -1\n", 2, ["threads", "-1"]),
    "threads-word": ("[zramfs]\nthreads = many\n", 2, ["threads", "many"]),
    "threads-too-many": ("[zramfs]\nthreads = 1000000\n", 2, ["threads", "1000000"]),
    "priority-too-high": ("[disk0]\nswap_priority = 32768\n", 2, ["swap_priority", "32768", "-1"]),
    "priority-word": ("[disk0]\nswap_priority = high\n", 2, ["swap_priority", "high", "32767"]),
    "daemon-limit-word": ("[zramfs]\nmem_limit = lots\n", 2, ["mem_limit", "lots", "0"]),
    "daemon-limit-too-large": ("[zramfs]\nmem_limit = 257T\n", 2, ["mem_limit", "257T", "256T"]),
    # Expressions
    "expression-unclosed": ("[disk0]\ndisksize = min(ram / 2, 4G\n", 2,
                            ["disksize", "min(ram / 2, 4G", "')'", "column 16", "50%"]),
    "expression-unknown-name": ("[disk0]\ndisksize = (rom / 2)\n", 2, ["rom", "column 2"]),
    "expression-negative": ("[disk0]\ndisksize = ram - ram * 2\n", 2, ["less than 0"]),
    "expression-nothing": ("[disk0]\ndisksize = ram * 0\n", 2, ["ram * 0", "more than 0"]),
    "expression-infinite": ("[disk0]\nmem_limit = ram / 0\n", 2, ["ram / 0", "256T"]),
    "expression-nested": (f"[disk0]\ndisksize = {'(' * 90}1{')' * 90}\n", 2, ["deep"]),
    "expression-for-a-number": ("[zramfs]\nthreads = (2)\n", 2, ["threads", "(2)", "64"]),
    # Keys of other programs
    "generator-size": ("[zram0]\nzram-size = half of ram\n", 2, ["zram-size", "half", "MB"]),
    "generator-size-in-bytes": ("[zram0]\nzram-size = 4294967296\n", 2, ["zram-size", "256T"]),
    "generator-priority": ("[zram0]\nswap-priority = 40000\n", 2, ["swap-priority", "32767"]),
    "generator-limit": ("[zram0]\nhost-memory-limit = all\n", 2, ["host-memory-limit", "none"]),
    "generator-command": ("set!x = echo 2\n[zram0]\nzram-size = ram * x\n", 3,
                          ["ram * x", "line 1", "not run"]),
    "generator-key-misspelt": ("[zram0]\nzram-sise = 1\n", 2, ["zram-sise", "zram-size"]),
    "compcache-size": ("[disk0]\ndisksize_kb = 1M\n", 2, ["disksize_kb", "1M", "KiB"]),
    "compcache-size-of-11-digits": ("[disk0]\ndisksize_kb = 12345678901\n", 2, ["10 digits"]),
    "compcache-disks": ("[zramfs]\nnum_devices = 5000\n", 2, ["num_devices", "5000", "1023"]),
    "said-twice": ("[a]\ndisksize = 1M\n\nzram-size = 1\n", 4, ["zram-size", "disksize", "line 2"]),
    "said-twice-at-the-top": ("memlimit_kb = 1\n[defaults]\nmem_limit = 1M\n", 3,
                              ["mem_limit", "memlimit_kb", "line 1"]),
    # Lines
    "line-with-colon": ("[disk0]\ndisksize : 4M\n", 2, ["disksize", "="]),
    "line-white-space-in-header": ("[ disk0 ]\n", 1, ["disk0"]),
    "line-too-long": (f"[disk0]\ndisksize = {'0' * 20000}1M\n", 2, ["long"]),
    "line-continued": ("[disk0]\ndisksize = 64M\n  comp_algorithm = lz4\n", 3, []),
    "line-continued-by-tab": ("[disk0]\ndisksize = 64M\n\t32M\n", 3, []),
    "line-is-garbage": ("[disk0]\n@#!\n", 2, []),
    "line-has-nul": ("[disk0]\ndisksize = 64M\0\n", 2, []),
}


@pytest.mark.parametrize("check_alone", [False, True], ids=["mount", "check"])
@pytest.mark.parametrize("case", BAD)
def test_bad_config(place, refused, case, check_alone):
    text, number, words = BAD[case]
    point, config = place / "z", place / "zram.ini"
    point.mkdir()
    config.write_text(text)
    line = refused("--check-config", config) if check_alone else refused(point, "-c", config)
    assert f"{config}:{number}:" in line
    rest = line.split(f"{config}:{number}:")[1]
    for word in words:
        assert word in rest, f"{word!r} is not in {rest!r}"
    assert rest.isprintable() and len(rest) < 600  # with all keys that there are


@pytest.mark.parametrize("length", [190, 197, 198, 199, 200, 201, 253, 254, 255, 256, 1022, 4094])
def test_a_long_line_is_whole_or_an_error(place, zramfs, refused, length):
    """Never split: what follows the split would be read as a line of its own."""
    config = place / "zram.ini"
    comment = f";{'x' * length}[other]"
    config.write_text(f"[disk0]\ndisksize = 1M\n{comment}\n")
    if run(BINARY, "--check-config", config, check=False).returncode != 0:
        assert f"{config}:3:" in refused("--check-config", config)
        return
    mount = zramfs(config.read_text())
    assert [name for name in os.listdir(mount.point) if not name.startswith(".")] == ["disk0"]


def test_missing_file(place, refused):
    (place / "z").mkdir()
    line = refused(place / "z", "-c", place / "none.ini")
    assert str(place / "none.ini") in line and "No such file" in line


def test_check_of_a_missing_file(place, refused):
    assert str(place / "none.ini") in refused("--check-config", place / "none.ini")


@pytest.mark.parametrize("reader", ["-c", "--check-config"])
def test_config_is_a_directory(place, refused, reader):
    (place / "z").mkdir()
    args = ["--check-config", place] if reader != "-c" else [place / "z", "-c", place]
    assert str(place) in refused(*args)


def test_config_is_a_pipe(place, refused):
    """Who opens it would wait for somebody to write."""
    (place / "z").mkdir()
    os.mkfifo(place / "pipe.ini")
    assert "pipe" in refused("--check-config", place / "pipe.ini")
    assert str(place / "pipe.ini") in refused(place / "z", "-c", place / "pipe.ini")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/urandom"])
def test_config_has_no_end(refused, path):
    assert f"{path}:" in refused("--check-config", path)


def test_config_is_endless_text(place, refused):
    (place / "long.ini").write_text("# comment\n" * 200000)
    assert "allowed: 1048576 bytes" in refused("--check-config", place / "long.ini")


# What looks odd and is good input


@pytest.mark.parametrize("length", [190, 200, 20000])
def test_a_comment_may_be_of_any_length(place, length):
    config = place / "zram.ini"
    config.write_text(f"; {'x' * length}\n[disk0]\ndisksize = 1M\n")
    done = run(BINARY, "--check-config", config)
    assert "[disk0]\ndisksize = 1048576\n" in done.stdout and done.stderr == ""


def test_what_check_config_prints_loads_to_the_same(place):
    config, again = place / "zram.ini", place / "again.ini"
    config.write_text("num_devices = 2\n[defaults]\nmem_limit = ram / 100\n[zramfs]\n"
                      "mem_limit = 50%\n[zram1]\nzram-size = ram / 3\nmode = 0640\n"
                      "compression-algorithm = zstd(level=5) lz4\noptions = discard\n"
                      "[b]\nswap_priority = -1\n")
    first = run(BINARY, "--check-config", config)
    again.write_text(first.stdout)
    second = run(BINARY, "--check-config", again)
    assert second.stdout == first.stdout
    assert not any(word in first.stdout for word in ("%", "ram ", "zram-size", "num_devices"))
    warnings = first.stderr.splitlines()
    assert warnings[0] == (f"zramfs: {config}: ignored, as they mean nothing here: "
                           "line 10 options")
    assert "ignored" not in second.stderr


def test_a_file_of_zram_generator(place, zramfs):
    """An empty section is a swap area of half of RAM there, 4 GB at most."""
    config = place / "zram-generator.conf"
    config.write_text("# the usual\n[zram0]\n")
    mount = zramfs(None, "-c", config)
    wanted = min(memory_total() // MIB * MIB // 2, 4 * GIB)
    assert os.stat(mount.disk("zram0")).st_size == wanted
    assert mount.disk("zram0").open("rb").read(4096)[4086:] == b"SWAPSPACE2"
    assert mount.get("zram0", "swap_priority") == "100\n"


def test_an_empty_section_is_a_disk(zramfs):
    mount = zramfs("[empty]\n[disk1]\ndisksize = 1M\n[last]\n")
    assert {"empty", "disk1", "last"} <= set(os.listdir(mount.point))


def test_an_empty_section_has_the_defaults(zramfs):
    mount = zramfs("[defaults]\ndisksize = 32M\ncomp_algorithm = zstd\nmem_limit = 16M\n[empty]\n")
    assert os.stat(mount.disk("empty")).st_size == 32 * MIB
    assert "[zstd]" in mount.get("empty", "comp_algorithm")
    assert mount.mm_stat("empty").mem_limit == 16 * MIB
    assert "defaults" not in os.listdir(mount.point)


def test_defaults_may_stand_last(zramfs):
    mount = zramfs("[a]\n[b]\ndisksize = 8M\n[defaults]\ndisksize = 32M\n")
    assert os.stat(mount.disk("a")).st_size == 32 * MIB
    assert os.stat(mount.disk("b")).st_size == 8 * MIB


def test_comments_blanks_and_line_ends(zramfs):
    mount = zramfs("; a comment\r\n# another\r\n\r\n[disk0]\r\ndisksize=8M ; trailing\r\n\r\n"
                   "[disk1]\n   \n\ndisksize   =   2M   ")
    assert os.stat(mount.disk("disk0")).st_size == 8 * MIB
    assert os.stat(mount.disk("disk1")).st_size == 2 * MIB


def test_a_name_of_63_bytes(zramfs):
    assert os.stat(zramfs(f"[{NAME_63}]\ndisksize = 1M\n").disk(NAME_63)).st_size == MIB


@pytest.mark.parametrize("text, size", [("4096", 4096), ("65536", 65536), ("64K", 64 << 10),
                                        ("64k", 64 << 10), ("3M", 3 * MIB), ("2g", 2 * GIB),
                                        ("8T", 8 << 40), ("256T", 256 << 40),
                                        ("0x100000", MIB)])
def test_sizes(zramfs, text, size):
    mount = zramfs(f"[disk0]\ndisksize = {text}\n")
    assert os.stat(mount.disk("disk0")).st_size == size
    assert mount.get("disk0", "disksize") == f"{size}\n"


@pytest.mark.parametrize("percent", [1, 25, 150])
def test_percent_of_memory(zramfs, percent):
    mount = zramfs(f"[disk0]\ndisksize = {percent}%\nmem_limit = {percent}%\n")
    wanted = memory_total() * percent // 100
    assert 0 <= os.stat(mount.disk("disk0")).st_size - wanted <= 4096
    assert 0 <= mount.mm_stat("disk0").mem_limit - wanted <= 4096


def test_a_size_that_is_no_whole_page(zramfs):
    """Byte-exact as a file, a whole page as an attribute."""
    mount = zramfs("[disk0]\ndisksize = 5000\n")
    assert os.stat(mount.disk("disk0")).st_size in (5000, 8192)
    assert mount.get("disk0", "disksize") == "8192\n"


def test_every_key_at_once(zramfs):
    mount = zramfs("[zramfs]\nthreads = 2\n[defaults]\nmem_limit = 32M\n[swap0]\ndisksize = 16M\n"
                   "comp_algorithm = zstd\nalgorithm_params = level=3\nmem_limit = 8M\n"
                   "format = swap\nlabel = zr-swap\n"
                   "uuid = 12345678-9abc-def0-1234-56789abcdef0\nmode = 0640\n")
    assert os.stat(mount.disk("swap0")).st_mode & 0o7777 == 0o640
    assert mount.mm_stat("swap0").mem_limit == 8 * MIB
    assert "[zstd]" in mount.get("swap0", "comp_algorithm")


def test_the_sample_is_good(place):
    sample = ROOT / "conf" / "zram.ini"
    if not sample.exists():
        pytest.skip("no conf/zram.ini")
    assert run(BINARY, "--check-config", sample).stderr == ""
