"""Your own pictures. The settings that depend on them are chosen from the data: see dsconv/config_auto.py.

    python -m dsconv.main --config=configs/pictures.py:PATH    # a folder, or a table FILE.csv

The recipe is that of configs/fast.py. Values that you set, e.g. --config.epochs=50, are kept.
"""

from configs import common
from dsconv.config_auto import KEYS


def get_config(path: str = ''):
    config = common.get_config()
    config.dataset.auto = KEYS
    is_table = path.lower().removesuffix('.gz').endswith(('.csv', '.tsv'))
    config.dataset.name = f'image_table:{path}' if is_table else f'image_folder:{path}'
    config.dataset.resize = 'crop'
    config.batch_size = 32
    config.optimizer.name = 'muon'
    config.optimizer.ema_decay = 0.995
    config.schedule.name = 'linear'
    config.schedule.init_value = 1e-4
    config.schedule.end_value = 1e-5
    config.augment.crop_padding = 2
    config.augment.crop_mode = 'reflect'
    config.loss.label_smoothing = 0.1
    return config
