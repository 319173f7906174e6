"""Whatever was set up on the machine is taken down again, last first, each step on its own."""

import signal
import sys

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """No Exception: what leaves out a part that fails must not go on after this."""


def _interrupt(number, _):
    raise Interrupted(f"interrupted by {signal.Signals(number).name}")


def catch_signals():
    for number in SIGNALS:
        signal.signal(number, _interrupt)


class Undo:
    """A with statement's: steps are added as things are set up, and done at its end. Signals wait
    meanwhile: what is half taken down would be left behind."""

    def __init__(self):
        self._steps = []

    def later(self, call, *args):
        self._steps.append((call, args))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            while self._steps:
                call, args = self._steps.pop()
                try:
                    call(*args)
                except Exception as error:
                    print(f"\nrun: left behind: {call.__name__}: {error}", file=sys.stderr)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
