"""What augmentation costs on a TPU slice, by its compiler: the training step compiled with and without it."""

from dsconv.augment import OFF
from dsconv.config_checks import resolve_without_data
from dsconv.performance.step_cost import counts
from dsconv.performance.topology import compile_step, topology_devices
from dsconv.process import versions
from dsconv.reporting import text_table


def measure(config, topology: str) -> dict:
    """Compiles a loaded config's step for a slice: `with` and `without` augmentation, and the `difference`."""
    devices, config = topology_devices(topology), resolve_without_data(config)
    plain = config.copy_and_resolve_references()
    plain.augment.update(OFF)
    costs = {'with': _cost(config, devices), 'without': _cost(plain, devices)}
    costs['difference'] = {key: value - costs['without'][key] for key, value in costs['with'].items()}
    return {
        'topology': topology,
        'devices': f'{len(devices)} × {devices[0].device_kind}',
        'model': config.model.name,
        'dtype': config.model.dtype,
        'batch_size': config.batch_size,
        'augment': config.augment.to_dict(),
        'versions': versions(('jax', 'jaxlib', 'libtpu')),
        **costs,
    }


def _cost(config, devices) -> dict[str, float]:
    """Returns the compiler's estimates of one step: per image of all devices, milliseconds at best, cycles of one."""
    flops, moved, seconds, totals = counts(compile_step(config, devices))
    share = len(devices) / config.batch_size / 1e6
    return {
        'megabytes_per_image': moved * share,
        'megaflops_per_image': flops * share,
        'milliseconds': seconds * 1e3,
        'megacycles': totals.megacycles,
    }


def as_text(result: dict) -> str:
    rows = [[name, *(round(value, 3) for value in result[name].values())] for name in ('with', 'without', 'difference')]
    header = ['augmentation', 'MB per image', 'MFLOPs per image', 'ms per step', 'megacycles per step']
    what = f'A step of {result["batch_size"]} images on {result["devices"]}, {result["dtype"]}'
    return f"{what}: the compiler's estimates, nothing was run.\n\n{text_table(header, rows)}"
