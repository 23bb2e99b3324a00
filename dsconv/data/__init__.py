"""Opens a dataset by name and reads batches of uint8 images. The package can be used alone:

source = open_source(dataset)                 # the metadata: sizes, channels, class names, splits
train = source.load('train')
for images, labels in train_batches(train, batch_size=128, seed=0, start_step=0, num_steps=1000): ...
"""

from dsconv.data.picture import read_picture
from dsconv.data.pipeline import channel_statistics, eval_batches, fingerprint, train_batches
from dsconv.data.processes import Processes
from dsconv.data.source import Source
from dsconv.data.sources import open_source

__all__ = [
    'Processes',
    'Source',
    'channel_statistics',
    'eval_batches',
    'fingerprint',
    'open_source',
    'read_picture',
    'train_batches',
]
