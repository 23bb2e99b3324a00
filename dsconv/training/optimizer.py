"""The learning-rate schedule and the optimizer of a config, built with Optax: `SCHEDULES` and `OPTIMIZERS`."""

import functools

import jax
import jax.numpy as jnp
import optax

from dsconv.config_checks import taken_by
from dsconv.errors import InputError, did_you_mean, shown


def _exponential(peak, end, steps):
    return optax.exponential_decay(peak, transition_steps=steps, decay_rate=end / peak, end_value=end)


def _cosine(peak, end, steps):
    return optax.cosine_decay_schedule(peak, steps, alpha=end / peak)


def _cosine_upward(start, peak, steps):
    downward = _cosine(peak, start, steps)
    return lambda step: downward(steps - step)


# Name → (warm-up, decay). Each takes its first rate, its last rate and the steps between them, and reaches both rates.
# A schedule that cannot reach 0 must be named in `config_checks.check`, too.
SCHEDULES = {
    'exponential': (optax.linear_schedule, _exponential),  # thesis, section 3.1
    'cosine': (optax.linear_schedule, _cosine),  # Loshchilov & Hutter 2016 (SGDR), one period
    'linear': (optax.linear_schedule, optax.linear_schedule),
    'one_cycle': (_cosine_upward, _cosine),  # Smith & Topin 2017, in the cosine form of optax.cosine_onecycle_schedule
}


def make_schedule(schedule, warmup_steps: int, total_steps: int) -> optax.Schedule:
    """Makes the warm-up and the decay of a config's `schedule` section, as a function of the step, from 0.

    The first step has the rate `init_value`, step `warmup_steps` has `peak_value`, and the last of `total_steps` has
    `end_value`. Without warm-up the first step has `peak_value`.
    """
    warmup, decay = SCHEDULES[schedule['name']]
    after = decay(schedule['peak_value'], schedule['end_value'], max(1, total_steps - 1 - warmup_steps))
    if warmup_steps == 0:
        return after
    before = warmup(schedule['init_value'], schedule['peak_value'], warmup_steps)
    return optax.join_schedules([before, after], [warmup_steps])


def make_optimizer(optimizer, learning_rate: optax.Schedule) -> optax.GradientTransformation:
    """Makes the optimizer of a config's `optimizer` section; it clips the gradient first if `clip_norm` is set.

    Updates are scaled by `body_rate`, except for the head; updates of the parts named in `freeze` are zero. Weight
    decay is on kernels only. With AdamW, Lion and Muon it is decoupled (Loshchilov & Hutter 2017): a kernel shrinks by
    the learning rate times the decay. With Adam and SGD it is an L2 penalty: its gradient is added to the loss's.
    """
    make = OPTIMIZERS[optimizer['name']]
    stages = [make(learning_rate, **taken_by(make, optimizer))]
    if optimizer['clip_norm'] is not None:
        stages.insert(0, optax.clip_by_global_norm(optimizer['clip_norm']))
    if optimizer['freeze'] or optimizer['body_rate'] != 1:
        stages.append(_scale_parts(optimizer['body_rate'], optimizer['freeze'] or ()))
    return stages[0] if len(stages) == 1 else optax.chain(*stages)


def _scale_parts(body_rate, frozen):
    """Scales the updates of all parts except the head by `body_rate`; updates of frozen parts are zero."""

    def init(params):
        for name in frozen:
            if name not in params:
                meant = did_you_mean(name, params) or f'; its modules are {", ".join(params)}'
                raise InputError(f'optimizer.freeze={shown(frozen)}: the network has no module {name}{meant}')
        return optax.EmptyState()

    def scaled(path, update):
        part = path[0].key
        return jnp.zeros_like(update) if part in frozen else update if part == 'head' else body_rate * update

    return optax.GradientTransformation(
        init, lambda updates, state, params=None: (jax.tree_util.tree_map_with_path(scaled, updates), state)
    )


def _adamw(rate, b1, b2, eps, weight_decay):
    return optax.adamw(rate, b1, b2, eps, weight_decay=weight_decay, mask=_is_kernel)


def _adam(rate, b1, b2, eps, weight_decay):
    return optax.chain(optax.add_decayed_weights(weight_decay, _is_kernel), optax.adam(rate, b1, b2, eps))


def _sgd(rate, momentum, nesterov, weight_decay):
    return optax.chain(optax.add_decayed_weights(weight_decay, _is_kernel), optax.sgd(rate, momentum, nesterov))


def _lion(rate, b1, b2, weight_decay):
    return optax.lion(rate, b1, b2, weight_decay=weight_decay, mask=_is_kernel)


def _muon(rate, momentum, nesterov, muon_rms, weight_decay, b1, b2, eps):
    """Makes Muon, Jordan 2024 (kellerjordan.github.io/posts/muon): orthogonalised momentum; AdamW for other parameters.

    Muon updates the pointwise kernels `(channels, features)`, 88 % of Small's parameters. AdamW, with the same
    schedule, updates biases and norms; the stem and the head, as in Jordan's networks, because they map from pixels
    and to classes; and the depthwise kernels, because each channel has a separate filter.

    The update of a full-rank matrix of any shape has the RMS `muon_rms` (Liu et al. 2025, arXiv:2502.16982) times the
    learning rate. Adam has an RMS of about 0.2: with this `muon_rms`, a rate and a decay that suit Adam also suit Muon.
    """
    muon = optax.contrib.muon(
        rate, beta=momentum, nesterov=nesterov, consistent_rms=muon_rms, weight_decay=weight_decay
    )

    def label(path, leaf):
        return 'muon' if leaf.ndim == 2 and path[0].key != 'head' else 'adamw'

    labels = functools.partial(jax.tree_util.tree_map_with_path, label)
    return optax.partition({'muon': muon, 'adamw': _adamw(rate, b1, b2, eps, weight_decay)}, labels)


# Name → optimizer: (schedule, the keys of the `optimizer` section that it takes) → `optax.GradientTransformation`.
OPTIMIZERS = {
    'adamw': _adamw,  # Loshchilov & Hutter 2017
    'adam': _adam,  # Kingma & Ba 2014
    'sgd': _sgd,  # momentum (Polyak 1964), or Nesterov's (Sutskever et al. 2013)
    'lion': _lion,  # Chen et al. 2023
    'muon': _muon,
}


def _is_kernel(params):
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == 'kernel', params)
