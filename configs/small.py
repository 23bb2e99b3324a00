"""The thesis's Small on CIFAR-10: 130,442 parameters, 300 epochs.

    python -m dsconv.main --config=configs/small.py

The thesis reports 93 % on the test split. Here, with its schedule shortened, 45 epochs give 85.66 % and 100 epochs
89.67 % (docs/results.md).
"""

from configs import common


def get_config():
    config = common.get_config()
    config.model.norm_groups = 8  # as on the thesis's TPU v3-8: statistics over the 64 images of each core
    return config
