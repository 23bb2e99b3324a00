"""The thesis's Medium on CIFAR-10: 490,250 parameters, 300 epochs.

    python -m dsconv.main --config=configs/medium.py

The thesis reports 95 % on the test split. Not trained here yet.
"""

from configs import small


def get_config():
    config = small.get_config()
    config.model.dim = 256
    return config
