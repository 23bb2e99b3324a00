"""The thesis's Small on CIFAR-10: 130,442 parameters, 300 epochs.

    python -m dsconv.main --config=configs/small.py

The thesis reports 93 % on the test split. The whole run has not been made here yet.
"""

from configs import common


def get_config():
    config = common.get_config()
    config.model.norm_groups = 8  # the thesis's TPU v3-8: each core by its own 64 images
    return config
