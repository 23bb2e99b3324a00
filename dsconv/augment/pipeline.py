"""The augmentation that a config's `augment` part describes, as one function of a key and a batch."""

import jax

from dsconv.augment.geometry import random_crop, random_flip


def make_augment(augment, num_classes: int):
    """Makes the augmentation for one training batch.

    Args:
      augment: a mapping with `policy` ('none'), `crop_padding`, `crop_mode` ('zero', 'reflect'), `flip` ('random',
        'none').
      num_classes: width of the soft labels.

    Returns:
      `augment(key, epoch, images, labels) → images, soft labels`, jittable. Images are uint8
      `(batch, height, width, channels)` and stay so; labels are int32 `(batch,)` and come out float32
      `(batch, num_classes)`, each row summing to one. The outcome depends on the key and on an image's place in the
      global batch, not on the number of devices.
    """

    def apply(key, epoch, images, labels):
        del epoch  # nothing that is switched on here changes with it
        crop_key, flip_key = jax.random.split(key)
        if augment['crop_padding']:
            images = random_crop(crop_key, images, augment['crop_padding'], augment['crop_mode'])
        if augment['flip'] == 'random':
            images = random_flip(flip_key, images)
        return images, jax.nn.one_hot(labels, num_classes)

    return apply
