"""Sources whose images are arrays, from a package or an archive."""

import numpy as np

from dsconv.data.picture import fit_array
from dsconv.data.source import Source, are_characters, choose_class_names, fits_in_memory
from dsconv.data.splits import Division, Split
from dsconv.data.threads import map_images


def array_source(splits: dict[str, tuple[np.ndarray, np.ndarray]], class_names: tuple[str, ...], dataset) -> Source:
    """Makes a source from arrays in memory.

    Args:
      splits: name of a split → (images uint8 `(n, size, size, channels)`, labels `(n,)`).
      class_names: one per label; these names decide `flippable`, even if `dataset.class_names` is set.
      dataset: as for `open_source`. If it sets another size or number of channels, the images are converted once when
        a split is loaded, or, if the result exceeds `memory_gigabytes`, whenever an image is read.
    """
    shape = next(iter(splits.values()))[0].shape
    image_size, channels = dataset.image_size or shape[1], dataset.channels or shape[3]
    sizes = {name: len(labels) for name, (_, labels) in splits.items()}
    fitted = (image_size, image_size, channels)
    as_stored = shape[1:] == fitted
    in_memory = as_stored or fits_in_memory(sum(sizes.values()), image_size, channels, dataset)

    def own(name: str) -> Split:
        images, labels = splits[name]

        def read(indices):
            return map_images(lambda i: fit_array(images[i], image_size, channels, dataset.resize), fitted, indices)

        kept = images if as_stored else read(range(len(images))) if in_memory else None
        return Split(labels.astype(np.int32), kept.__getitem__ if in_memory else read, in_memory)

    names, flippable = choose_class_names(class_names, dataset), not are_characters(class_names)
    return Source(image_size, channels, names, flippable, Division.of(sizes, dataset), own)
