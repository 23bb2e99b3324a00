"""dsconv: a tiny, accurate image classifier trained fast on a TPU."""

import os


def load(path, checkpoint: str | None = None, tta: bool = False):
    """Returns a trained network: uint8 pictures of any size → probabilities, `.class_names`.

        network = dsconv.load('pretrained/small')
        probabilities = network(images)    # float32 (N, classes)

    Args:
      path: the workdir of a run, or a published network, from the current directory, else one that comes with dsconv;
        or a .tflite or .onnx file of `dsconv.export`, which is run without JAX.
      checkpoint: 'latest', 'best' or a step; by default the best by validation where there is one, else the latest.
      tta: averages over several views of a picture, test-time augmentation; not of an exported file.

    Returns a `dsconv.data.unlabelled.Network`. Raises InputError if there is no such run, checkpoint or file.
    """
    from dsconv.errors import InputError
    from dsconv.exported import RUNTIMES, open_exported

    if str(path).endswith(tuple(RUNTIMES)) or os.path.isfile(path):
        if checkpoint:
            raise InputError(f'{path} is a file of one checkpoint: leave checkpoint={checkpoint} out')
        if tta:
            raise InputError(f'{path} is an exported file: test-time augmentation (tta) needs the run')
        return open_exported(path)
    from dsconv.training.classifier import Classifier  # JAX with it, which `import dsconv` need not wait for

    return Classifier(path, checkpoint, tta)
