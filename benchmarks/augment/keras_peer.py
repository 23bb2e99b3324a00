"""The part of the default policy that Keras 3 has, in Keras's ranges: crop, flip, RandAugment, MixUp and CutMix.

RandomCrop and RandAugment draw one position and one set of operations for the whole batch. There is no AutoAugment.
"""

import os

import numpy as np

from benchmarks.process import random_batch


def prepare(task: dict) -> dict:
    """Returns the function that augments and returns a batch, on the backend `task['variant']`."""
    os.environ['KERAS_BACKEND'] = task['variant']
    import keras
    from keras import layers

    settings, random = task['augment'], np.random.default_rng(0)
    images, labels = random_batch(task)
    batch = {
        'images': keras.ops.convert_to_tensor(images),
        'labels': keras.ops.one_hot(labels, task['classes']),
    }
    pad = layers.ZeroPadding2D(settings['crop_padding'], dtype='uint8')
    crop, flip = layers.RandomCrop(*images.shape[1:3]), layers.RandomFlip('horizontal')
    policy = layers.RandAugment(
        num_ops=settings['randaugment_layers'], factor=settings['randaugment_magnitude'] / 10, interpolation='nearest'
    )

    def by(*mixing):
        def augment(images, labels):
            data = {'images': pad(images), 'labels': labels}
            for layer in (crop, flip, policy, *mixing):
                data = layer(data, training=True)
            return data

        if keras.backend.backend() == 'tensorflow':
            import tensorflow as tf

            return tf.function(augment)
        return augment

    augment = {'cutmix': by(layers.CutMix()), 'mixup': by(layers.MixUp(settings['mixup_alpha'])), 'none': by()}
    mixed, share = settings['mix_probability'], settings['cutmix_probability']
    chances = [mixed * share, mixed * (1 - share), 1 - mixed]
    for compiled in augment.values():
        compiled(**batch)

    def run():
        augmented = augment[random.choice(list(augment), p=chances)](**batch)
        return {name: keras.ops.convert_to_numpy(part) for name, part in augmented.items()}

    return {'augment': run}
