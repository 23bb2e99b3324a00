import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dsconv.config import defaults, load
from dsconv.errors import InputError
from dsconv.training.network import build_network
from dsconv.training.optimizer import SCHEDULES, make_optimizer, make_schedule

DECAY, RATE = 0.02, 0.1
MOMENTS = dict(b1=0.5, b2=0.75, eps=0.3)  # not the defaults
START = np.array([[1.0, -2.0, 3.0], [0.5, 0.25, -1.0]])


def options(name, **changes):
    return defaults().optimizer.to_dict() | {'name': name, 'weight_decay': DECAY} | changes


def updated(optimizer, params, gradients):
    """The parameters after a step with each of the gradients."""
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


def adam_direction(gradients, b1=0.5, b2=0.75, eps=0.3):
    """Kingma & Ba 2014, algorithm 1: the step of the last gradient, ÷ the learning rate."""
    first = second = 0
    for gradient in gradients:
        first, second = b1 * first + (1 - b1) * gradient, b2 * second + (1 - b2) * gradient**2
    t = len(gradients)
    return (first / (1 - b1**t)) / (np.sqrt(second / (1 - b2**t)) + eps)


def numpy_adamw(parameter, gradients, decay):
    """Loshchilov & Hutter 2017, algorithm 2."""
    for t in range(1, len(gradients) + 1):
        parameter = parameter - RATE * (adam_direction(gradients[:t]) + decay * parameter)
    return parameter


def numpy_adam(parameter, gradients, decay):
    """With the gradient of decay / 2 · ‖parameter‖² added."""
    seen = []
    for gradient in gradients:
        seen.append(gradient + decay * parameter)
        parameter = parameter - RATE * adam_direction(seen)
    return parameter


def numpy_sgd(parameter, gradients, decay, nesterov, momentum=0.9):
    velocity = 0
    for gradient in gradients:
        gradient = gradient + decay * parameter
        velocity = momentum * velocity + gradient
        parameter = parameter - RATE * (gradient + momentum * velocity if nesterov else velocity)
    return parameter


def numpy_lion(parameter, gradients, decay, b1=0.9, b2=0.999):
    """Chen et al. 2023, algorithm 2."""
    moment = 0
    for gradient in gradients:
        direction = np.sign(b1 * moment + (1 - b1) * gradient)
        moment = b2 * moment + (1 - b2) * gradient
        parameter = parameter - RATE * (direction + decay * parameter)
    return parameter


@pytest.mark.parametrize(
    ('chosen', 'formula'),
    [
        (options('adamw', **MOMENTS), numpy_adamw),
        (options('adam', **MOMENTS), numpy_adam),
        (options('sgd'), lambda *args: numpy_sgd(*args, nesterov=True)),
        (options('sgd', nesterov=False), lambda *args: numpy_sgd(*args, nesterov=False)),
        (options('muon', **MOMENTS), numpy_adamw),  # which takes the head
        (options('lion', b1=0.3, b2=0.9), lambda *args: numpy_lion(*args, b1=0.3, b2=0.9)),
    ],
)
def test_updates_are_those_of_the_paper_and_weight_decay_is_on_kernels_only(chosen, formula):
    gradients = np.random.default_rng(0).normal(size=(5, *START.shape))
    params = {'head': {name: jnp.array(START) for name in ('kernel', 'bias', 'scale')}}
    trees = [jax.tree.map(lambda _, g=gradient: jnp.array(g), params) for gradient in gradients]
    params = updated(make_optimizer(chosen, lambda step: RATE), params, trees)
    for name, decay in (('kernel', DECAY), ('bias', 0), ('scale', 0)):
        np.testing.assert_allclose(params['head'][name], formula(START, gradients, decay), rtol=1e-4, err_msg=name)


def numpy_muon(moment, rms):
    """The direction of a step: five quintics take the singular values of the momentum to about 1."""
    x = moment / np.linalg.norm(moment)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return rms * np.sqrt(max(moment.shape)) * x


@pytest.mark.parametrize('shape', [(8, 32), (32, 8)])
def test_muons_updates_of_a_matrix_are_orthogonal_but_for_the_quintics(shape):
    start, *gradients = np.random.default_rng(1).normal(size=(3, *shape)) * np.linspace(0.1, 10, shape[1])
    params, *trees = [{'expand': {'kernel': jnp.array(matrix)}} for matrix in (start, *gradients)]
    chosen = options('muon', nesterov=False, momentum=0.7, muon_rms=0.5)
    after = updated(make_optimizer(chosen, lambda step: RATE), params, trees)
    expected = start
    for moment in (gradients[0], 0.7 * gradients[0] + gradients[1]):  # but for a factor, which makes no difference
        expected = expected - RATE * (numpy_muon(moment, 0.5) + DECAY * expected)
    np.testing.assert_allclose(after['expand']['kernel'], expected, atol=2e-3 * RATE)


def test_muon_takes_the_pointwise_kernels_of_the_network_and_adamw_the_rest():
    config = defaults()
    config.model.update(dim=16, depth=1, kernel_size=3)
    config.dataset.class_names = tuple('abcdefgh')
    variables = jax.eval_shape(build_network(config).init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    optimizer = make_optimizer(options('muon'), lambda step: RATE)
    moments = jax.tree_util.tree_leaves_with_path(jax.eval_shape(optimizer.init, variables['params']))
    paths = [jax.tree_util.keystr(path) for path, _ in moments]
    all_have_a_mean = {path.partition('.mu')[2] for path in paths if '.mu[' in path}
    of_adamw = {path.partition('.nu')[2] for path in paths if '.nu[' in path}  # Muon has no second moment
    names = ('reduce_1', 'reduce_2', 'expand')
    assert all_have_a_mean - of_adamw == {f"['block_0']['{name}']['kernel']" for name in names}
    assert len(all_have_a_mean) == len(jax.tree.leaves(variables['params']))


def test_the_gradient_is_clipped_by_its_global_norm():
    optimizer = make_optimizer(options('sgd', clip_norm=1.0, momentum=0.0), lambda step: 0.1)
    params = {'a': {'bias': jnp.zeros(2)}, 'b': {'bias': jnp.zeros(2)}}
    long = {'a': {'bias': jnp.array([3.0, 0.0])}, 'b': {'bias': jnp.array([0.0, 4.0])}}
    after = updated(optimizer, params, [long])
    np.testing.assert_allclose([after[name]['bias'] for name in 'ab'], [[-0.06, 0], [0, -0.08]], rtol=1e-5)


def test_frozen_parts_stay_and_the_body_takes_a_part_of_the_step():
    params = {part: {'kernel': jnp.asarray(START)} for part in ('stem', 'block_0', 'head')}
    gradients = [jax.tree.map(lambda leaf: leaf + 1, params)] * 2
    whole = updated(make_optimizer(options('muon'), lambda step: RATE), params, gradients[:1])
    scaled = make_optimizer(options('muon', body_rate=0.25, freeze=('stem',)), lambda step: RATE)
    parts = updated(scaled, params, gradients[:1])
    np.testing.assert_array_equal(updated(scaled, params, gradients)['stem']['kernel'], START)
    np.testing.assert_array_equal(parts['head']['kernel'], whole['head']['kernel'])
    moved = [np.asarray(after['block_0']['kernel']) - START for after in (parts, whole)]
    np.testing.assert_allclose(moved[0], 0.25 * moved[1], rtol=1e-3)


def test_a_part_that_is_not_there_is_named():
    with pytest.raises(InputError, match='optimizer.freeze=block_9: the network has no module block_9; did you mean'):
        make_optimizer(options('adamw', freeze=('block_9',)), lambda step: RATE).init({'block_0': START})


INITIAL, PEAK, END = 1e-5, 0.01, 5e-5
WARMUP, TOTAL = 40, 241  # the last step is 240, the middle of the decay 140


def schedule(name='exponential', **changes):
    return {'name': name, 'init_value': INITIAL, 'peak_value': PEAK, 'end_value': END} | changes


@pytest.mark.parametrize(
    ('name', 'up', 'down'),
    [
        ('exponential', lambda x: x, lambda x: np.log(PEAK * (END / PEAK) ** x)),
        ('cosine', lambda x: x, lambda x: (1 + np.cos(np.pi * x)) / 2),
        ('linear', lambda x: x, lambda x: 1 - x),
        ('one_cycle', lambda x: (1 - np.cos(np.pi * x)) / 2, lambda x: (1 + np.cos(np.pi * x)) / 2),
    ],
)
def test_the_schedules_at_a_quarter_of_their_way(name, up, down):
    rate = make_schedule(schedule(name), WARMUP, TOTAL)
    expected = np.exp(down(0.25)) if name == 'exponential' else END + (PEAK - END) * down(0.25)
    assert rate(WARMUP + 50) == pytest.approx(expected, rel=1e-3)
    assert rate(WARMUP // 4) == pytest.approx(INITIAL + (PEAK - INITIAL) * up(0.25), rel=1e-3)


@pytest.mark.parametrize('name', SCHEDULES)
def test_the_ends_of_the_schedules(name):
    rate = make_schedule(schedule(name), warmup_steps=0, total_steps=10)
    assert [rate(0), rate(9)] == pytest.approx([PEAK, END], rel=1e-4)
    assert make_schedule(schedule(name), warmup_steps=0, total_steps=1)(0) == pytest.approx(PEAK, rel=1e-6)
    assert make_schedule(schedule(name, init_value=0.0), warmup_steps=3, total_steps=9)(0) == pytest.approx(0, abs=1e-9)


def test_all_schedules_but_the_exponential_may_end_at_nothing():
    for name in SCHEDULES.keys() - {'exponential'}:
        assert make_schedule(schedule(name, end_value=0.0), WARMUP, TOTAL)(TOTAL - 1) == pytest.approx(0, abs=1e-9)
    assert load('configs/small.py', ['schedule.name=cosine', 'schedule.end_value=0']).schedule.end_value == 0
    with pytest.raises(
        InputError, match='^schedule.end_value=0.0 is never reached by exponential decay; use schedule.name='
    ):
        load('configs/small.py', ['schedule.end_value=0'])
