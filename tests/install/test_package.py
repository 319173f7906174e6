"""The Debian package: built by anybody, without network and /dev/fuse, and as lintian wants it."""

import re

import pytest

from host import run
from test_meson import DOCUMENTS, FILES

# Debian's own in it, and documents.
MORE = {
    f"{DOCUMENTS}/changelog.Debian.gz", f"{DOCUMENTS}/copyright", f"{DOCUMENTS}/README.Debian",
    "share/lintian/overrides/zramfs",
}


def test_its_unit_tests_passed(package):
    """As an ordinary user, with no network and no /dev/fuse: what a build machine has."""
    ok = int(re.search(r"^Ok: +(\d+)", package.log, re.M)[1])
    assert ok > 60 and re.search(r"^Fail: +0", package.log, re.M), package.log[-3000:]
    # one, which a release has no places for
    assert re.search(r"^Skipped: +1 ", package.log, re.M), package.log[-3000:]


def test_lintian(package):
    """Neither errors nor warnings; contrib/debian/zramfs.lintian-overrides says which it may have."""
    done = run("lintian", "-i", "--pedantic", "--allow-root", "--fail-on=error,warning",
               package.changes, timeout=180, check=False)
    assert done.returncode == 0, done.stdout
    assert not re.search("^[EW]: ", done.stdout, re.M), done.stdout


def test_what_is_in_it(package):
    files = {path for path in package.files() if not path.endswith("/")}
    wanted = {f"/usr/{path}" for path in (FILES | MORE) - {"etc/zramfs"}}
    wanted = {path + (".gz" if "/man/" in path else "") for path in wanted}
    # of the system they may lie in either, as the Debian has it
    files = {re.sub("^/lib/", "/usr/lib/", path) for path in files}
    assert {path for path in files if f"/usr/{DOCUMENTS}/" not in path} == {
        path for path in wanted if f"/usr/{DOCUMENTS}/" not in path}
    assert {path for path in wanted if DOCUMENTS in path} <= files
    assert f"/usr/{DOCUMENTS}/examples/zram.ini" in files  # to be copied: not compressed
    assert "/etc/zramfs/" in package.files()
    assert not [path for path in files if path.startswith("/usr/") and "test-" in path]


def test_names_what_it_needs(package):
    depends = run("dpkg-deb", "--field", package.deb, "Depends").stdout
    for name in ("fuse3", "libfuse3-3", "liblz4-1", "libzstd1", "liblzo2-2", "liburing2"):
        assert re.search(rf"\b{name}\b", depends), depends
    assert "libaio" not in depends


@pytest.mark.needs("readelf")
@pytest.mark.parametrize("program", ["zramfs", "zramfsctl"])
def test_hardened(package, program, place):
    run("dpkg-deb", "--extract", package.deb, place)
    path = place / "usr/bin" / program
    assert re.search(r"Type: +DYN", run("readelf", "-h", path).stdout)
    assert "BIND_NOW" in run("readelf", "-d", path).stdout
    symbols = run("readelf", "--dyn-syms", "--wide", path).stdout
    assert "__stack_chk_fail" in symbols
    assert re.search(r"__\w+_chk@", symbols.replace("__stack_chk_fail", ""))
