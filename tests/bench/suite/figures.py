"""Figures of several rounds: the one in the middle, and how far they lie apart."""

import statistics


class Figures:
    def __init__(self, values):
        self.values = list(values)

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def least(self):
        return min(self.values)

    @property
    def most(self):
        return max(self.values)


def ratios(ours, theirs, higher_is_better):
    """Of each round on its own: what the machine did to both sides is not in it."""
    pairs = zip(ours.values, theirs.values)
    return Figures(a / b if higher_is_better else b / a for a, b in pairs)


def short(value):
    """Three digits or more."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
