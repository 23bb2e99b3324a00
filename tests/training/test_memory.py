"""The memory of a step against counts by hand, the memory of the device as it reports it, and the log lines on both."""

import types

import jax
import jax.numpy as jnp
import pytest

from dsconv.errors import InputError
from dsconv.training import memory
from tests.training.test_microbatching import make_config, mesh_of

GB = 10**9


def taking(temporaries):
    """Stands for a compiled step."""
    sizes = dict.fromkeys(('argument', 'output', 'alias', 'generated_code'), 0) | {'temp': temporaries}
    found = types.SimpleNamespace(**{f'{name}_size_in_bytes': size for name, size in sizes.items()})
    return types.SimpleNamespace(memory_analysis=lambda: found)


@pytest.fixture
def linux(tmp_path, monkeypatch):
    """A machine with 8 GB free, whose job may take 3 GB and has taken 1, beside files of 0.5 GB that are cached."""
    (tmp_path / 'meminfo').write_text('MemTotal:  9000000 kB\nMemAvailable:  7812500 kB\n')
    (tmp_path / 'cgroup').write_text('0::/job/step\n')
    (tmp_path / 'job' / 'step').mkdir(parents=True)
    (tmp_path / 'job' / 'memory.max').write_text(f'{3 * GB}\n')
    (tmp_path / 'job' / 'memory.current').write_text(f'{GB + GB // 2}\n')
    (tmp_path / 'job' / 'memory.stat').write_text(f'anon {GB}\ninactive_file {GB // 2}\nactive_file 0\n')
    (tmp_path / 'job' / 'step' / 'memory.max').write_text('max\n')
    for name, path in {'MEMORY_INFO': 'meminfo', 'OWN_CGROUP': 'cgroup', 'CGROUPS': '.'}.items():
        monkeypatch.setattr(memory, name, tmp_path / path)
    return tmp_path


@pytest.mark.parametrize(('donated', 'arrays'), [((), 2), ((0,), 1)])
def test_a_donated_argument_is_counted_once(donated, arrays):
    compiled = jax.jit(lambda x: x + 1, donate_argnums=donated).lower(jnp.zeros(1000)).compile()
    assert memory.bytes_of(compiled) == arrays * 4000


def test_devices_of_a_cpu_share_what_the_job_may_still_take(linux, caplog):
    caplog.set_level('INFO')

    def tell(taken, **changes):
        config = make_config(batch_size=512, **changes)
        memory.tell_memory(config, mesh_of('cpu', 2), taking(taken), num_examples=50_000)

    tell(0.9 * GB)
    tell(0.9 * GB, dataset__on_device=True)  # 0.15 GB for each device
    (linux / 'cgroup').write_text('')
    tell(1.1 * GB)
    (linux / 'cgroup').unlink()
    tell(1.1 * GB)
    (linux / 'meminfo').unlink()
    tell(1.1 * GB)
    assert [(record.levelname, record.message.split(':')[1]) for record in caplog.records] == [
        ('INFO', ' a step takes 1.80 GB, free memory is 2.00 GB'),
        ('WARNING', ' a step takes 2.11 GB, free memory is 2.00 GB'),
        ('INFO', ' a step takes 2.20 GB, free memory is 8.00 GB'),
        ('INFO', ' a step takes 2.20 GB, free memory is 8.00 GB'),
    ]


@pytest.mark.parametrize(
    ('changes', 'taken', 'remedy'),
    [
        (
            {'model__norm_groups': 8, 'dataset__on_device': True},
            '2.65',
            'set --config.accumulation_steps=4 or --config.model.remat=true or --config.dataset.on_device=false '
            '(same result, except for dropout), or a --config.batch_size below 512 (in a new workdir)',
        ),
        ({'model__implementation': 'plain'}, '2.50', 'set a --config.batch_size below 512 (in a new workdir)'),
    ],
)
def test_too_little_memory_names_what_can_be_set(caplog, changes, taken, remedy):
    mesh = mesh_of('gpu', 2, [{'bytes_limit': 3 * GB}, {'bytes_limit': 2 * GB}])
    memory.tell_memory(make_config(batch_size=512, **changes), mesh, taking(2.5 * GB), num_examples=50_000)
    assert caplog.messages == [f'memory: a step takes {taken} GB, a device has 2.00 GB: {remedy}']


def test_what_does_not_fit_is_one_line():
    with (
        pytest.raises(InputError, match=r'^the device does not have enough memory \(.+\): take less$'),
        memory.naming_remedies('take less'),
    ):
        jax.jit(lambda: jnp.zeros(2**58))().block_until_ready()


def test_the_fullest_device_is_logged_where_it_is_told():
    full, empty = {'bytes_in_use': 7, 'peak_bytes_in_use': 8}, {'bytes_in_use': 1, 'peak_bytes_in_use': 9}
    most = {'device_bytes_in_use': 7, 'device_peak_bytes_in_use': 9}
    assert memory.device_memory(mesh_of('gpu', 2, [full, empty])) == most
    assert memory.device_memory(mesh_of('gpu', 1, [{'bytes_in_use': 7}])) == {'device_bytes_in_use': 7}
    assert memory.device_memory(mesh_of('cpu', 2)) == {}
