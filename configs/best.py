"""The thesis's Small on CIFAR-10 in 45 epochs, to 90.88 % on the test split: the best recipe that was trained here.

    python -m dsconv.main --config=configs/best.py

It is configs/fast.py with more epochs, stronger augmentation, which keeps the network from memorising the images, and a
longer EMA. With `--config.epochs=100`, it gives 92.28 %. `pretrained/small` and `pretrained/small-relu` were trained
with it in several runs: see docs/results.md. The settings were chosen without a search.
"""

from configs import fast


def get_config():
    config = fast.get_config()
    config.epochs = 45
    config.optimizer.ema_decay = 0.998  # averages over about one and a half epochs
    config.augment.crop_padding = 4
    config.augment.policy = 'randaugment'
    config.augment.randaugment_layers = 1
    config.augment.cutout_size = 8
    return config
