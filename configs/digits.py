"""Handwritten digits of 8×8 pixels. They ship inside scikit-learn, so nothing is downloaded.

    python -m dsconv.main --config=configs/digits.py

Seeds 0, 1 and 2 reached 98.6, 99.2 and 97.8 % on the test split, in one to three minutes each on two CPU cores
(results/digits). The settings were chosen on validation splits of the training images.
"""

from configs import common


def get_config():
    config = common.get_config()
    config.batch_size = 32
    config.epochs = 60
    config.dataset.name = 'digits'
    config.model.patch_size = 1
    config.model.dim = 96
    config.model.depth = 4
    config.model.kernel_size = 3
    config.optimizer.ema_decay = 0.998
    config.schedule.end_value = 5e-4
    config.schedule.warmup_epochs = 3.0
    config.augment.crop_padding = 1
    config.augment.policy = 'randaugment'
    config.augment.randaugment_layers = 1
    config.augment.randaugment_magnitude = 3.0
    config.augment.fill = 0  # the background of the digits
    config.augment.mix_probability = 0.0
    config.loss.label_smoothing = 0.1
    config.checkpoint.every_epochs = 5
    return config
