"""The network in Keras 3, on TensorFlow or on JAX, compiled as `compile` does by default; AdamW on every parameter."""

import os

import numpy as np


def build(keras, model: dict, image_shape: tuple[int, int, int], classes: int):
    """Builds the functional model: `(batch, height, width, channels)` normalised images → `(batch, classes)` logits."""
    layers = keras.layers
    activation = {
        'gelu': lambda x: keras.activations.gelu(x, approximate=True),
        'gelu_exact': lambda x: keras.activations.gelu(x, approximate=False),
        'relu': keras.activations.relu,
        'silu': keras.activations.silu,
    }[model['activation']]

    def unit(x, name, convolution, *arguments, **options):
        x = convolution(*arguments, padding='same', activation=activation, name=name, **options)(x)
        return layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f'{name}_norm')(x)

    def block(x, name):
        first, second = (model['dim'] // divisor for divisor in model['reduction'])
        reduced = unit(x, f'{name}.reduce_1', layers.Conv2D, first, 1)
        reduced = unit(reduced, f'{name}.reduce_2', layers.Conv2D, second, 1)
        mixed = unit(reduced, f'{name}.depthwise', layers.DepthwiseConv2D, model['kernel_size'])
        y = layers.add([reduced, mixed]) if model['residual_depthwise'] else mixed
        y = unit(y, f'{name}.expand', layers.Conv2D, model['dim'], 1)
        return layers.add([x, y]) if model['residual_block'] else y

    patch = model['patch_size']
    images = keras.Input(image_shape)
    x = unit(images, 'stem', layers.Conv2D, model['dim'], model['stem_kernel_size'] or patch, strides=patch)
    for index in range(model['depth']):
        x = block(x, f'block_{index}')
    return keras.Model(images, layers.Dense(classes, name='head')(layers.GlobalAveragePooling2D()(x)))


def load(network, arrays) -> None:
    """Copies the exported variables into the network."""
    for layer in network.layers:
        name = layer.name.replace('.', '/')
        if name.endswith('_norm'):
            own = f'{name.removesuffix("_norm")}_unit/batch_norm'
            names = [f'params/{own}/scale', f'params/{own}/bias', f'batch_stats/{own}/mean', f'batch_stats/{own}/var']
        elif layer.weights:
            names = [f'params/{name}/kernel', f'params/{name}/bias']
        else:
            continue
        shapes = [weight.shape for weight in layer.weights]
        layer.set_weights([arrays[name].reshape(shape) for name, shape in zip(names, shapes, strict=True)])


def prepare(settings: dict) -> dict:
    """Builds the network with the exported variables; `settings['variant']` is the backend."""
    os.environ['KERAS_BACKEND'] = settings['variant']
    import keras

    arrays = np.load(settings['arrays'], allow_pickle=False)
    images, labels = arrays['images'], arrays['labels']
    images = (images.astype(np.float32) / 255 - np.float32(settings['mean'])) / np.float32(settings['std'])
    network = build(keras, settings['model'], images.shape[1:], settings['classes'])
    load(network, arrays)
    names = {'weight_decay': 'weight_decay', 'beta_1': 'b1', 'beta_2': 'b2', 'epsilon': 'eps'}
    options = {name: settings['optimizer'][own] for name, own in names.items()}
    optimizer = keras.optimizers.AdamW(settings['learning_rate'], **options)
    network.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return {
        'parameters': sum(int(np.prod(variable.shape)) for variable in network.trainable_variables),
        'train': lambda: float(network.train_on_batch(images, labels)),
        'inference': lambda: network.predict_on_batch(images),
    }
