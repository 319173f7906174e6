"""meson install: what goes where, that it works from there, and that it goes again."""

import os
import pathlib
import re
import shutil

import pytest

from built import PREFIX, introspect, meson
from data import text_pages
from host import run
from zramfs import ROOT, Zramfs

# Below the prefix. Directories of documents are in test_documents().
FILES = {
    "share/man/man5/zramfs.ini.5", "share/man/man8/zramfs.8", "share/man/man8/zramfsctl.8",
    "share/man/man8/mount.fuse.zramfs.8",
    "share/bash-completion/completions/zramfsctl",
    "etc/zramfs",
}
UNITS = {
    "lib/systemd/system/zramfs@.service", "lib/systemd/system/zramfs-swap@.service",
    "lib/systemd/system/zramfs-loop@.service", "lib/systemd/user/zramfs@.service",
}
PROGRAMS = {"bin/zramfs", "bin/zramfsctl", "libexec/zramfs/zramfs-unit"}
LINKS = {"sbin/mount.fuse.zramfs"}
FILES |= UNITS | PROGRAMS | LINKS
DOCUMENTS = "share/doc/zramfs"


def files_below(top):
    """Files and empty directories, as paths from there."""
    found = set()
    for directory, names, files in os.walk(top):
        inside = os.path.relpath(directory, top)
        if not names and not files:
            found.add(inside)
        found |= {os.path.normpath(f"{inside}/{name}") for name in files}
        found |= {os.path.normpath(f"{inside}/{name}") for name in names
                  if os.path.islink(f"{directory}/{name}")}
    return found


@pytest.fixture
def installed(tree, place):
    """The prefix, below a DESTDIR."""
    meson("install", "-C", tree, "--no-rebuild", env={"DESTDIR": str(place)})
    return place / PREFIX.lstrip("/")


def test_what_is_installed(installed, place):
    found = files_below(installed)
    assert {path for path in found if not path.startswith(DOCUMENTS)} == FILES
    assert {path.name for path in place.iterdir()} == {"opt"}  # nothing outside of the prefix
    for name in PROGRAMS:
        assert (installed / name).stat().st_mode & 0o7777 == 0o755
    for name in FILES - PROGRAMS - LINKS - {"etc/zramfs"}:
        assert (installed / name).stat().st_mode & 0o777 == 0o644, name


def test_links(installed):
    for name in LINKS:
        target = (installed / name).resolve()
        assert target.exists() and target.is_relative_to(installed), name
        assert target.name.startswith("zramfs")


def test_units_know_the_prefix(installed):
    for name in UNITS:
        text = (installed / name).read_text()
        programs = re.findall(r"^Exec\w+=[+!-]*(/\S+)", text, re.M)
        ours = [path for path in programs if path.startswith(f"{PREFIX}/")]
        assert ours, text
        for path in ours:
            assert (installed / os.path.relpath(path, PREFIX)).exists(), path
        assert not [path for path in programs if "zramfs" in path and path not in ours]
    assert f"{PREFIX}/etc/zramfs/%i.ini" in (installed / "lib/systemd/system/zramfs@.service"
                                            ).read_text()


def test_documents(installed):
    found = {path.removeprefix(f"{DOCUMENTS}/") for path in files_below(installed)
             if path.startswith(DOCUMENTS)}
    wanted = {"README.md", "NEWS", "systemd.md", "examples/zram.ini"}
    for directory, inside in (("doc", ""), ("recipes", "examples/"), ("prometheus", "examples/")):
        for path in (ROOT / "contrib" / directory).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                top = ROOT / "contrib" / (directory if directory == "doc" else "")
                wanted.add(inside + str(path.relative_to(top)))
    if (ROOT / "contrib/recipes").is_dir():
        wanted.add("examples/lib.sh")
    assert found == wanted
    # a sample that is not read is no sample
    run(installed / "bin/zramfs", "--check-config", installed / DOCUMENTS / "examples/zram.ini")


def test_recipes_run_from_there(installed):
    """As far as that they find each other, and say what they do."""
    recipes = installed / DOCUMENTS / "examples/recipes"
    for path in sorted(recipes.glob("*")) if recipes.is_dir() else []:
        if path.is_file() and os.access(path, os.X_OK):
            assert "usage: " in run(path, "--help").stdout, path


def test_nothing_tells_of_where_it_was_built(installed):
    """No path of the source or of the DESTDIR is in a text that is installed."""
    for path in files_below(installed) - {"etc/zramfs", "bin/zramfs", "bin/zramfsctl"} - LINKS:
        content = (installed / path).read_bytes()
        for place in (ROOT, installed.parents[1]):
            assert os.fsencode(place) not in content, path
        if b"\0" not in content:  # a picture may have anything
            assert not re.search(rb"@[A-Za-z_]+@", content), f"{path}: not replaced"


def test_dry_run(tree, place):
    done = meson("install", "-C", tree, "--no-rebuild", "--dry-run", check=False,
                 env={"DESTDIR": str(place)})
    said = done.stdout
    # meson 1.0 ends it at a link whose target would be there by then
    assert done.returncode == 0 or "symlink to missing file" in said, said
    for name in FILES - LINKS:
        assert f"{place}{PREFIX}/{name}" in said or f"{place}{PREFIX}/{pathlib.Path(name).parent}\n" in said
    assert not any(place.iterdir())


def test_uninstall(tree, installed, place):
    """Nothing is left, and what others have in its directories is."""
    others = installed / "bin/other"
    others.touch()
    run("ninja", "-C", tree, "uninstall", env={"DESTDIR": str(place)})
    assert files_below(place) == {str(others.relative_to(place))}


@pytest.mark.needs("man")
@pytest.mark.parametrize("section, page", [(5, "zramfs.ini"), (8, "zramfs"), (8, "zramfsctl"),
                                           (8, "mount.fuse.zramfs")])
def test_man_finds_its_pages(installed, section, page):
    found = run("man", "-M", installed / "share/man", "-w", section, page).stdout.strip()
    page = page.removeprefix("mount.fuse.")  # what the page of that name includes
    assert found == str(installed / f"share/man/man{section}/{page}.{section}")


@pytest.mark.needs("bash")
@pytest.mark.skipif(not os.path.exists("/usr/share/bash-completion/bash_completion"),
                    reason="no bash-completion")
def test_bash_finds_its_completion(installed):
    said = run("bash", "--norc", "-c",
               "source /usr/share/bash-completion/bash_completion; "
               "_completion_loader zramfsctl; complete -p zramfsctl",
               env={"XDG_DATA_DIRS": f"{installed}/share"}).stdout
    assert "zramfsctl" in said


@pytest.mark.root
@pytest.mark.skipif(not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="no usable /dev/fuse")
def test_it_runs_from_there_and_is_upgraded_there(installed, place):
    program, ctl = installed / "bin/zramfs", installed / "bin/zramfsctl"
    (place / "run").mkdir()
    mount = Zramfs(place / "run", "[disk0]\ndisksize = 1M\n")
    mount.args[0] = str(program)
    mount.start()
    try:
        mount.disk("disk0").write_bytes(text_pages(10))
        new = program.with_suffix(".new")
        shutil.copy(program, new)
        os.rename(new, program)
        said = run(ctl, "upgrade", mount.point).stdout
        worker = re.search(r"pid (\d+)", said)[1]
        assert os.path.samefile(f"/proc/{worker}/exe", program)
        assert mount.disk("disk0").read_bytes()[:len(text_pages(10))] == text_pages(10)
    finally:
        mount.stop()


@pytest.fixture
def configured(place):
    """configured(*options): a build directory; nothing is compiled."""
    def setup(*options, check=True):
        build = place / f"build{len(list(place.iterdir()))}"
        done = meson("setup", build, ROOT, *options, check=check)
        return build if check else done
    return setup


def installs(build):
    return sorted(introspect(build, "installed").values())


def test_without_tests_there_are_none_and_the_same_is_installed(configured):
    without, full = configured("-Dtests=false"), configured()
    assert introspect(without, "tests") == [] and introspect(without, "benchmarks") == []
    assert len(introspect(full, "tests")) > 50
    tests = {target["name"] for target in introspect(full, "targets")} - {
        target["name"] for target in introspect(without, "targets")}
    assert "test-disk" in tests and "codecs" in tests and "io" in tests
    assert installs(without) == installs(full)


def test_fuzzers_are_tests(configured):
    done = configured("-Dtests=false", "-Dfuzz=true", check=False)
    assert done.returncode != 0 and "-Dfuzz=true wants -Dtests=true" in done.stdout


def test_benchmarks_or_none(configured):
    """Whoever insists on them is told of what is missing; auto goes without it."""
    def names(build):
        return {target["name"] for target in introspect(build, "targets")}

    build = configured("-Dbenchmarks=disabled")
    assert "test-trace" in names(build) and not {"codecs", "load"} & names(build)
    assert introspect(build, "benchmarks") == []
    assert "codecs" in names(configured("-Dbenchmarks=auto"))


def test_units_or_none(configured):
    """Where systemd looks, if the prefix is its own; and for OpenRC, if somebody asks for it."""
    system = run("pkg-config", "--variable=systemdsystemunitdir", "systemd", check=False
                 ).stdout.strip()
    if not system:
        pytest.skip("no systemd.pc")
    build = configured("--prefix=/usr", "--sysconfdir=/etc", "-Dopenrc=true")
    assert {f"{system}/zramfs@.service", "/etc/init.d/zramfs", "/etc/conf.d/zramfs"} <= set(
        installs(build))
    build = configured("-Dsystemd=disabled")
    assert not [path for path in installs(build) if "systemd/" in path or "init.d" in path]


def test_places_are_for_the_builder_to_say(configured):
    build = configured("--prefix=/usr", "--sysconfdir=/etc", "-Ddocdir=/usr/share/papers",
                       "-Dbashcompletiondir=/etc/completion")
    assert {"/usr/share/papers/README.md", "/usr/share/papers/examples/zram.ini",
            "/etc/completion/zramfsctl"} <= set(installs(build))
    build = configured("-Dbashcompletiondir=no")
    assert not [path for path in installs(build) if "completion" in path]
