"""Statistics of a study's accuracies, from 0 to 1: means, paired differences with their intervals, and one sentence.

The runs of two variants with the same seed are a pair: they share initial weights and the order of the data.
"""

import math
import statistics

from dsconv.reporting.sections import percent

CONFIDENCE = 0.95
ROUNDING = 1e-9  # smaller differences between accuracies are rounding errors; one image in a million is 1e-6


def spread(accuracies: dict[int, float], overlap: float = 0.0) -> dict:
    """Returns `runs`, `mean`, its 95 % `mean_interval` and `std` (with n − 1) of accuracies.

    A value that needs more runs is None, and so is the interval of equal accuracies. For `overlap`, see
    `paired_difference`.
    """
    values = list(accuracies.values())
    return {
        'runs': len(values),
        'mean': statistics.fmean(values) if values else None,
        'std': statistics.stdev(values) if len(values) > 1 else None,
        'mean_interval': _interval_of_mean(values, overlap),
    }


def paired_difference(these: dict[int, float], those: dict[int, float], overlap: float = 0.0) -> dict:
    """Compares accuracies, these minus those, over the seeds that both have.

    In cross-validation, the runs are not independent, because they share training images. `overlap` is then the number
    of scored images over that of training images: the interval is wider, as in Nadeau & Bengio 2003, "Inference for the
    Generalization Error", section 3.1.

    Returns the number of `pairs`, their mean `difference` (None without pairs) and its 95 % `interval` [low, high] by
    Student's t: None with fewer than two pairs, or if all differences are equal, since it would have no width.
    """
    differences = [these[seed] - those[seed] for seed in these if seed in those]
    mean = statistics.fmean(differences) if differences else None
    return {'pairs': len(differences), 'difference': mean, 'interval': _interval_of_mean(differences, overlap)}


def _interval_of_mean(values: list[float], overlap) -> list[float] | None:
    from scipy import stats

    if len(values) < 2 or statistics.stdev(values) < ROUNDING:
        return None
    scale = statistics.stdev(values) * math.sqrt(1 / len(values) + overlap)
    return [float(end) for end in stats.t.interval(CONFIDENCE, len(values) - 1, statistics.fmean(values), scale)]


def standard_error(accuracy: float, images: int) -> float:
    """Returns the standard error of an accuracy on `images` images drawn at random, by Agresti & Coull 1998.

    Unlike √(p · (1 − p) / n), it is not 0 at an accuracy of 0 or 1.
    """
    images, right = images + 4, accuracy * images + 2
    return math.sqrt(right * (images - right) / images**3)


def sentence(variants: dict[str, dict]) -> str:
    """Returns the result in one sentence; `variants` are those of `ablation.summarise`."""
    first, *others = variants
    done = {name: found['mean'] for name, found in variants.items() if found['runs']}
    paired = {name: variants[name] for name in others if variants[name]['pairs']}
    if not done:
        clauses = ['No run is finished']
    elif first not in done:
        best = max(done, key=done.get)
        clauses = [
            f'{first}, which the others are compared with, has no finished run; best is {best}, {percent(done[best])}'
        ]
    elif not others:
        low, high = variants[first]['mean_interval'] or (None, None)
        interval = '' if low is None else f', 95 % interval from {100 * low:.2f} to {100 * high:.2f}'
        clauses = [f'{first}: {percent(done[first])} over {variants[first]["runs"]} run(s){interval}']
    elif not paired:
        clauses = [f'No other variant has a finished run with a seed of {first}, {percent(done[first])}']
    else:
        best = max(paired, key=lambda name: paired[name]['difference'])
        clauses = [_about_the_best(first, done[first], best, paired.pop(best)), *_about_the_rest(first, paired)]
    for state in ('failed', 'unfinished'):
        if names := [f'{name} ({found[state]})' for name, found in variants.items() if found[state]]:
            clauses.append(f'{state} runs: {", ".join(names)}')
    return '; '.join(clauses) + '.'


def _about_the_best(first, mean, best, found):
    difference, interval = found['difference'], _interval(found)
    if abs(difference) < ROUNDING:
        return f'Nothing is better than {first}, {percent(mean)}; {best} is level with it ({interval})'
    against = f'{signed(difference)} points against {first} ({interval})'
    if difference > 0:
        return f'Best is {best}: {against}'
    return f'Best is {first}, {percent(mean)}; nearest is {best}: {against}'


def _about_the_rest(first, others):
    """Returns clauses on the variants above, below and not distinguishable from the first, and without an interval."""
    groups = {
        f'above {first}': [],
        f'below {first}': [],
        f'no clear difference from {first}': [],
        'without an interval': [],
    }
    above, below, alike, unknown = groups.values()
    for name, found in others.items():
        low, high = found['interval'] or (None, None)
        group = unknown if low is None else above if low > 0 else below if high < 0 else alike
        group.append(f'{name} ({signed(found["difference"])} points)')
    return [f'{about}: {", ".join(names)}' for about, names in groups.items() if names]


def _interval(found):
    if found['interval'] is None:
        alike = 'one seed' if found['pairs'] == 1 else f'the same in all of {found["pairs"]} seeds'
        return f'{alike}, so there is no interval'
    low, high = found['interval']
    says = 'includes 0' if low <= 0 <= high else 'excludes 0'
    return f'95 % interval from {signed(low)} to {signed(high)} over {found["pairs"]} seeds, which {says}'


def signed(share: float) -> str:
    """Returns percentage points with a sign, e.g. '−1.20'."""
    return f'{round(100 * share, 2) + 0:+.2f}'.replace('-', '−')  # + 0 avoids −0.00
