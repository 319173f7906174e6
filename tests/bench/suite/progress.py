"""One line that stays in place, on a terminal; nothing elsewhere."""

import shutil
import sys


class Progress:
    def __init__(self):
        self._is_shown = sys.stderr.isatty()
        self._before = ""

    def within(self, text):
        """What comes first in all lines from now on: the part."""
        self._before = f"{text}: " if text else ""
        self.clear()

    def __call__(self, text):
        if self._is_shown:
            line = (self._before + text)[:shutil.get_terminal_size().columns - 1]
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)

    def clear(self):
        if self._is_shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
