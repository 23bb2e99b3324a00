import jax.numpy as jnp
import numpy as np
import pytest

from dsconv.training.optimizer import make_optimizer, make_schedule

SCHEDULE = {'init_value': 1e-5, 'peak_value': 0.01, 'end_value': 5e-5}
ADAMW = {'name': 'adamw', 'b1': 0.9, 'b2': 0.999, 'eps': 1e-8, 'weight_decay': 0.02, 'clip_norm': None}


def test_first_peak_and_last_learning_rate_are_those_of_the_config():
    # The thesis's run: 300 epochs of 97 steps, five of them warm-up.
    schedule = make_schedule(SCHEDULE, warmup_steps=485, total_steps=29_100)
    assert schedule(0) == pytest.approx(1e-5, rel=1e-4)
    assert schedule(485) == pytest.approx(0.01, rel=1e-6)
    assert schedule(29_099) == pytest.approx(5e-5, rel=1e-4)
    rates = np.array([schedule(step) for step in range(0, 29_100, 97)])
    assert np.all(np.diff(rates[:6]) > 0)
    assert np.all(np.diff(rates[5:]) < 0)
    # Exponential: the logarithm falls by the same amount every epoch.
    np.testing.assert_allclose(np.diff(np.log(rates[5:])), np.diff(np.log(rates[5:]))[0], rtol=1e-3)


def test_without_warmup_the_first_step_is_the_peak():
    schedule = make_schedule(SCHEDULE, warmup_steps=0, total_steps=10)
    assert [float(schedule(0)), float(schedule(9))] == pytest.approx([0.01, 5e-5], rel=1e-4)


def test_a_run_of_one_step_has_a_finite_rate():
    assert np.isfinite(make_schedule(SCHEDULE, warmup_steps=0, total_steps=1)(0))


def numpy_adamw(parameter, gradients, rate, decay):
    """Loshchilov & Hutter 2017, algorithm 2, as NumPy."""
    first = second = np.zeros_like(parameter)
    for t, gradient in enumerate(gradients, start=1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        update = (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        parameter = parameter - rate * (update + decay * parameter)
    return parameter


def test_weight_decay_is_on_kernels_only():
    optimizer = make_optimizer(ADAMW, lambda step: 0.1)
    start, gradients = np.array([1.0, -2.0, 3.0]), np.random.default_rng(0).normal(size=(5, 3))
    params = {'layer': {name: jnp.array(start) for name in ('kernel', 'bias', 'scale')}}
    state = optimizer.init(params)
    for gradient in gradients:
        tree = {'layer': {name: jnp.array(gradient) for name in params['layer']}}
        updates, state = optimizer.update(tree, state, params)
        params = {'layer': {name: params['layer'][name] + updates['layer'][name] for name in params['layer']}}
    for name, decay in (('kernel', 0.02), ('bias', 0), ('scale', 0)):
        np.testing.assert_allclose(params['layer'][name], numpy_adamw(start, gradients, 0.1, decay), rtol=1e-4)


def test_the_gradient_is_clipped_by_its_global_norm():
    clipped, free = (make_optimizer(ADAMW | {'clip_norm': norm, 'eps': 1.0}, lambda step: 1.0) for norm in (1.0, None))
    params = {'a': {'bias': jnp.zeros(2)}, 'b': {'bias': jnp.zeros(2)}}
    long = {'a': {'bias': jnp.array([3.0, 0.0])}, 'b': {'bias': jnp.array([0.0, 4.0])}}
    unit = {'a': {'bias': jnp.array([0.6, 0.0])}, 'b': {'bias': jnp.array([0.0, 0.8])}}
    updates, _ = clipped.update(long, clipped.init(params), params)
    expected, _ = free.update(unit, free.init(params), params)
    np.testing.assert_allclose(updates['a']['bias'], expected['a']['bias'], rtol=1e-5)
    np.testing.assert_allclose(updates['b']['bias'], expected['b']['bias'], rtol=1e-5)
