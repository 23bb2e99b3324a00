"""The learning-rate schedule and the optimizer that a config describes."""

import jax
import optax


def make_schedule(schedule, warmup_steps: int, total_steps: int) -> optax.Schedule:
    """Linear warm-up, then exponential decay (thesis, section 3.1).

    Args:
      schedule: a mapping with `init_value` (learning rate of the first step), `peak_value` (of step `warmup_steps`)
        and `end_value` (of the last step).
      warmup_steps: from 0 to below `total_steps`.
      total_steps: of the whole run.

    Returns:
      A function of the step, counted from 0.
    """
    decay_steps = max(1, total_steps - 1 - warmup_steps)
    decay = optax.exponential_decay(
        schedule['peak_value'],
        transition_steps=decay_steps,
        decay_rate=schedule['end_value'] / schedule['peak_value'],
        end_value=schedule['end_value'],
    )
    if warmup_steps == 0:
        return decay
    warmup = optax.linear_schedule(schedule['init_value'], schedule['peak_value'], warmup_steps)
    return optax.join_schedules([warmup, decay], [warmup_steps])


def make_optimizer(optimizer, learning_rate: optax.Schedule) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter 2017) with weight decay on kernels only, the gradient clipped first where asked."""
    adamw = optax.adamw(
        learning_rate,
        b1=optimizer['b1'],
        b2=optimizer['b2'],
        eps=optimizer['eps'],
        weight_decay=optimizer['weight_decay'],
        mask=_is_kernel,
    )
    if optimizer['clip_norm'] is None:
        return adamw
    return optax.chain(optax.clip_by_global_norm(optimizer['clip_norm']), adamw)


def _is_kernel(params):
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == 'kernel', params)
