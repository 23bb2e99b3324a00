from dsconv.reporting.figures import png
from dsconv.reporting.study_figures import costs_figure, pareto_front, variants_figure

COSTS = {'parameters': 'parameters', 'macs': 'MACs'}


def lines_of(axes):
    return [line.get_xydata().tolist() for line in axes.lines]


def test_variants_have_their_runs_means_and_intervals():
    figure = variants_figure({'a': [80, 84], 'b $x_1': [90], 'c': []}, {'a': (0, 0), 'b $x_1': (-2, 18)}, 'Title')
    left, right = figure.axes
    assert [[80, 0], [84, 0]] in lines_of(left)
    assert [[82, 0]] in lines_of(left)  # the mean
    assert [[90, 1]] in lines_of(left)
    assert lines_of(right)[:2] == [[[-2, 1], [18, 1]], [[8, 1]]]
    assert len(lines_of(right)) == 3  # nothing of the first, but the line at 0
    assert [label.get_text() for label in left.get_yticklabels()] == ['a', 'b $x_1', 'c']
    assert left.yaxis_inverted()
    assert png(figure).startswith(b'\x89PNG')
    for nothing in (variants_figure({'a': [], 'b': []}, {}, 'Title'), costs_figure([], [], COSTS, 'Title')):
        assert png(nothing).startswith(b'\x89PNG')


def test_the_front_is_what_no_other_point_beats():
    points = [(3, 6), (2, 7), (1, 4), (2, 5), (1, 5), (4, 7), (2, 7), (5, 8)]  # others cost more, or as much, for less
    assert pareto_front(points) == [(1, 5), (2, 7), (5, 8)]


def test_costs_are_drawn_with_their_front_and_what_is_published():
    points = [
        {'name': 'a', 'accuracy': 80, 'std': 1.0, 'parameters': 1e5, 'macs': 2e7},
        {'name': 'b', 'accuracy': 70, 'std': None, 'parameters': 2e5, 'macs': 1e7},
    ]
    published = [{'name': 'c', 'accuracy': 93, 'parameters': 3e5, 'macs': 4e7}]
    figure = costs_figure(points, published, COSTS, 'Title')
    parameters, macs = figure.axes
    assert lines_of(parameters)[0] == [[1e5, 80]]  # b costs more and is worse
    assert lines_of(macs)[0] == [[1e7, 70], [2e7, 80]]
    for axes, key in zip(figure.axes, COSTS):
        assert axes.get_xscale() == 'log'
        assert {text.get_text() for text in axes.texts} == {'a', 'b', 'c'}
        (hollow,) = [part for part in axes.collections if 'published' in part.get_label()]
        assert hollow.get_offsets().tolist() == [[published[0][key], 93]]
        assert hollow.get_facecolor().size == 0
    assert png(figure).startswith(b'\x89PNG')
