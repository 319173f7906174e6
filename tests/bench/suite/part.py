"""A part of the run. What it leaves behind is printed, kept for --json, and drawn."""

import collections

# A figure with a target. share: of the target, above 1 is better, and where it lay over the rounds.
Point = collections.namedtuple("Point", "part what side ratio target share share_least share_most")


class Part:
    """name: for --only. run() prints its tables as they are ready."""

    name = None
    about = None  # one line, for --help

    def __init__(self, bench):
        self.bench = bench

    def why_not(self):
        """The reason why it cannot run here, or None."""
        return None

    def run(self, undo):
        """Return: what --json is to have of it."""
        raise NotImplementedError

    def point(self, what, side, figures, target, lower_is_better=False):
        """Return: how far the median of some figures is, as text."""
        shares = [target / value if lower_is_better else value / target
                  for value in (figures.median, figures.least, figures.most)]
        self.bench.points.append(Point(self.name, what, side, figures.median, target, shares[0],
                                       min(shares), max(shares)))
        return shares[0]
