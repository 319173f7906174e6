"""Programs that measure, with a time limit that holds even where one cannot be killed."""

import json
import os
import subprocess

from host import PATH


class Failed(Exception):
    """A part cannot go on; says why."""


def measure(args, timeout, when_stuck=None):
    """What a program prints as JSON. One that waits for a daemon that hangs does not die before the
    daemon does: when_stuck() is told to see to that."""
    args = [str(arg) for arg in args]
    process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True,
                               env={**os.environ, "PATH": PATH, "LC_ALL": "C"})
    try:
        out, said = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        if when_stuck:
            when_stuck()
        raise Failed(f"{args[0]}: not done within {timeout:.0f} s") from None
    except BaseException:
        process.kill()
        raise
    if process.returncode != 0:
        raise Failed(said.strip() or f"{args[0]}: status {process.returncode}")
    return json.loads(out)


def stop(process):
    """A daemon of ours whose mount is gone ends by itself, as a rule."""
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=5)
