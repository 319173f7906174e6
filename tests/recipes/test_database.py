"""A database's scratch space: spilled there, right, smaller in memory, and given back."""

import glob

import pytest

pytestmark = [pytest.mark.loop, pytest.mark.needs("mkfs.ext4")]

ENGINES = [pytest.param("sqlite", marks=pytest.mark.needs("sqlite3")),
           pytest.param("postgresql", marks=[
               pytest.mark.needs("psql"),
               pytest.mark.skipif(not glob.glob("/usr/lib/postgresql/*/bin/initdb"),
                                  reason="no PostgreSQL server: apt-get install postgresql")])]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sort(recipe, engine):
    n_rows = 60000
    done = recipe("database-scratch", "--engine", engine, "--rows", n_rows, "--size", "256M")
    for what in ("what was sorted was there", "it is what sort(1) makes of the rows",
                 "no row is missing", "it took less memory than room"):
        assert done.ok(what), done.stdout
    assert done.ok("it sorts as before") == (engine == "postgresql")
    files, memory = done.row("temporary files"), done.row("memory for them")
    assert n_rows * 80 / (1 << 20) < files < n_rows * 400 / (1 << 20)
    assert 0 < memory < files / 1.5 and done.row("memory") < memory / 4


@pytest.mark.needs("sqlite3")
def test_a_disk_that_is_too_small(recipe):
    """The database says so, and all is taken down."""
    done = recipe("database-scratch", "--rows", 200000, "--size", "8M", status=1)
    assert "full" in done.stderr


def test_refused(recipe):
    assert "sqlite or postgresql" in recipe("database-scratch", "--engine", "x", status=1).stderr
    assert "--rows 5" in recipe("database-scratch", "--rows", "5", status=1).stderr
    path = recipe.path_without("sqlite3")
    done = recipe("database-scratch", status=77, env={"PATH": path})
    assert done.stderr == ("database-scratch: there is no sqlite3 here; on Debian: "
                           "apt-get install sqlite3\n")


def test_as_a_user(recipe, user):
    done = recipe("database-scratch", status=77, user=user)
    assert done.stderr.endswith(("mounting needs root\n", "apt-get install sqlite3\n"))
