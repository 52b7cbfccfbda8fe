"""Ratios of pairs, with a bound by bootstrap."""
import math
import random
import statistics

SEED = 20261121
RESAMPLES = 10_000


def percentile(values, share):
    """The value below which that share lies; of a list that need not be sorted."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1 if share > 0 else 0)]


def ratio_bound(ratios, lower):
    """One-sided 95 % bound of the geometric mean of the ratios: pairs are drawn again, with replacement (Efron 1979)."""
    logs = [math.log(r) for r in ratios]
    rng = random.Random(SEED)
    means = [statistics.fmean(rng.choices(logs, k=len(logs))) for _ in range(RESAMPLES)]
    return math.exp(percentile(means, 0.05 if lower else 0.95))


class Pairs:
    """What two sides measured, pair by pair, and the table of it."""

    def __init__(self, first, second):
        self.sides = (first, second)
        self.rows = {}  # name -> (unit, higher is better, bar, {side: [values]})

    def add(self, side, name, value, unit, higher=True, bar=None):
        row = self.rows.setdefault(name, (unit, higher, bar, {s: [] for s in self.sides}))
        row[3][side].append(value)

    def add_medians(self, rounds):
        for name, (unit, higher, bar, values) in rounds.rows.items():
            for side, measured in values.items():
                if measured:  # one side alone may have a row
                    self.add(side, name, statistics.median(measured), unit, higher, bar)

    def print(self):
        first, second = self.sides
        print(f"  {'':<44} {first:>26} {second:>26} {'ratio':>7}  95 % bound")
        for name, (unit, higher, bar, values) in self.rows.items():
            ours, theirs = values[first], values[second]
            figure = lambda v: f"{v:.4g}" if v < 10_000 else f"{v:.0f}"
            cell = lambda v: f"{figure(statistics.median(v))} ({figure(min(v))} to {figure(max(v))})" if v else "not measured"
            line = f"  {name + ', ' + unit:<44} {cell(ours):>26} {cell(theirs):>26}"
            if ours and len(ours) == len(theirs) and min(ours + theirs) > 0:
                ratios = [a / b for a, b in zip(ours, theirs)]
                line += f" {statistics.median(ratios):>7.3f}  {'at least' if higher else 'at most'} {ratio_bound(ratios, higher):.3f}"
                if bar is not None:
                    line += f" (bar {bar})"
            print(line, flush=True)

    def as_json(self):
        return {name: {"unit": unit, "higher_is_better": higher, **values} for name, (unit, higher, _, values) in self.rows.items()}
