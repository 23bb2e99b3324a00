"""The augmentation of a config, as one function of a key, an epoch and a batch."""

import functools

import jax
from jax import lax
from jax.sharding import PartitionSpec

from dsconv.augment.lookup import GATHER, ONE_HOT
from dsconv.augment.mixing import is_on, mix
from dsconv.augment.stages import switched_on


def make_augment(config, num_classes: int, mesh=None):
    """Makes the augmentation for one training batch.

    Args:
      config: a mapping with `epochs` and `augment`, as in `configs/common.py`; `augment.flip` must not be 'auto'.
      num_classes: width of the soft labels.
      mesh: a `jax.sharding.Mesh` over whose first axis the batch is sharded, or None. With a mesh, each CPU device
        augments only its own images; without it, each augments all of them.

    Returns:
      `augment(key, epoch, images, labels) → images, soft labels`, jittable. Images are uint8 `(batch, height, width,
      channels)` of one or three channels, in and out; labels are int32 `(batch,)`, soft labels float32 `(batch,
      num_classes)`, each row summing to one. The result depends on the key, the epoch and an image's index in the
      global batch, not on the number of devices.

    Raises:
      ValueError: a setting is not one of its valid choices.
    """
    settings = config['augment']
    stages, first_clean_epoch = switched_on(settings), config['epochs'] - settings['clean_tail_epochs']

    def alter(height, width, lookup, planes, drawn):
        for stage, part in zip(stages, drawn, strict=True):
            planes = stage.alter(planes, part, height, width, lookup)
        return planes

    def augment(key, epoch, images, labels):
        batch, height, width, channels = images.shape
        mix_key, *keys = jax.random.split(key, 1 + len(stages))
        drawn = [stage.draw(stage_key, epoch, images) for stage, stage_key in zip(stages, keys, strict=True)]
        planes = images.transpose(0, 3, 1, 2).reshape(batch, channels, height * width)
        planes = _each_by_itself(functools.partial(alter, height, width), planes, drawn, mesh)
        soft_labels = jax.nn.one_hot(labels, num_classes)
        if is_on(settings):
            planes, soft_labels = mix(mix_key, planes, soft_labels, height, width, settings, epoch < first_clean_epoch)
        return planes.reshape(batch, channels, height, width).transpose(0, 2, 3, 1), soft_labels

    return augment


def _each_by_itself(alter, planes, drawn, mesh):
    """Maps `alter(lookup, planes, drawn)` over the images, in the form for the platform of the compilation.

    On a CPU, the form is a loop with real branches: an image costs only its own operations, and stays in the cache for
    all of them. On other platforms, all images are altered at once.
    """

    def loop(planes, drawn):
        return lax.map(lambda image: alter(GATHER, *image), (planes, drawn))

    def together(lookup):
        return jax.vmap(functools.partial(alter, lookup))

    if mesh is not None:  # XLA does not partition a loop over devices
        batch = PartitionSpec(mesh.axis_names[0])
        loop = jax.shard_map(loop, mesh=mesh, in_specs=batch, out_specs=batch, check_vma=False)
    return lax.platform_dependent(planes, drawn, cpu=loop, tpu=together(ONE_HOT), default=together(GATHER))
