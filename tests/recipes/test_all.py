"""What holds of every recipe."""

import os
import subprocess

import pytest

from conftest import RECIPES, ROOT, lacking

NAMES = sorted(path.name for path in RECIPES.iterdir()
               if path.is_file() and os.access(path, os.X_OK))


def test_there_are_some():
    assert NAMES


@pytest.mark.parametrize("name", NAMES)
def test_explains_itself(recipe, name):
    done = recipe(name, "--help")
    assert done.stderr == ""
    assert f"usage: contrib/recipes/{name}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("name", NAMES)
def test_refuses_what_it_does_not_know(recipe, name):
    done = recipe(name, "--no-such-option", status=2)
    assert done.stdout == ""
    assert done.stderr == f"{name}: what is '--no-such-option'? See --help\n"


@pytest.mark.parametrize("name", NAMES)
def test_is_listed(name):
    assert f"[{name}]({name})" in (RECIPES / "README.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_is_a_script_of_ours(name):
    lines = (RECIPES / name).read_text().splitlines()
    assert lines[:2] == ["#!/usr/bin/env bash", "# SPDX-License-Identifier: GPL-2.0-or-later"]
    assert "set -euo pipefail" in lines


@pytest.mark.skipif(lacking("shellcheck") is not None, reason="no shellcheck")
def test_shellcheck():
    files = [path.relative_to(ROOT) for path in RECIPES.iterdir()
             if path.name in NAMES or path.suffix == ".sh"]
    subprocess.run(["shellcheck", "-x", "-S", "warning", *files], cwd=ROOT, check=True)
