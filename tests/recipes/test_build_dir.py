"""A build directory on a disk: built as in a tmpfs, with less memory, and given back."""

import pytest

pytestmark = [pytest.mark.loop, pytest.mark.needs("mkfs.ext4", "fincore")]


@pytest.fixture
def tree(place):
    """A program of some files for meson, with tables that take room."""
    source = place / "source"
    source.mkdir()
    names = [f"part{i}" for i in range(4)]
    for i, name in enumerate(names):
        rows = ", ".join(str((i + 3) * j % 1000) for j in range(60000))
        (source / f"{name}.c").write_text(f"const int {name}[] = {{ {rows} }};\n")
    (source / "main.c").write_text("\n".join(f"extern const int {name}[];" for name in names) +
                                   "\nint main(void) { return part1[2] - 8; }\n")
    files = ", ".join(f"'{name}.c'" for name in ("main", *names))
    (source / "meson.build").write_text(f"project('it', 'c')\nexecutable('it', {files})\n")
    return source


@pytest.mark.needs("meson", "ninja")
@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_a_tree(recipe, tree, codec):
    done = recipe("build-dir", "--source", tree, "--size", "256M", "--codec", codec)
    assert done.ok("there is as much in both")
    assert done.row("time on the disk") > 0 and done.row("time in the tmpfs") > 0
    files, memory = done.row("files on the disk"), done.row("memory of the disk")
    assert 1 < files < 30 and memory < files * 0.8
    assert done.row("memory of the tmpfs") == pytest.approx(files, rel=0.3)
    assert float(done.stdout.rpartition("memory of the disk")[2].split()[0]) < memory / 4


def test_any_command(recipe, tree):
    done = recipe("build-dir", "--source", tree, "--size", "64M", "--build",
                  'mkdir "$BUILD" && cc -c -o "$BUILD/part0.o" part0.c')
    assert "1 products" in done.stdout


def test_a_build_that_fails(recipe, tree):
    """Its last words are shown, and all is taken down."""
    (tree / "main.c").write_text("this is no C\n")
    done = recipe("build-dir", "--source", tree, "--size", "64M", "--build",
                  'mkdir "$BUILD" && cc -o "$BUILD/it" main.c', status=1)
    assert "this is no C" in done.stderr
    assert done.stderr.splitlines()[-1] == "build-dir: it could not be built in tmpfs"


def test_refused(recipe, place):
    assert "no such directory" in recipe("build-dir", "--source", place / "x", status=1).stderr
    assert "where is $BUILD" in recipe("build-dir", "--build", "make", status=1).stderr
    path = recipe.path_without("ninja")
    done = recipe("build-dir", status=77, env={"PATH": path})
    assert done.stderr == "build-dir: there is no ninja here; on Debian: apt-get install ninja-build\n"
    assert done.stdout == ""


def test_as_a_user(recipe, user):
    done = recipe("build-dir", "--source", user.home, status=77, user=user)
    assert done.stderr == "build-dir: mounting needs root\n"
