import importlib.util
import json
import sys
import types

import numpy as np
import pytest

from benchmarks.network import comparison
from benchmarks.network.comparison import PEERS, Peer
from benchmarks.network.dsconv_peer import export
from dsconv import config as configuration
from dsconv.errors import InputError, RunError
from dsconv.process import ALLOCATOR, SWITCH

TINY = ('batch_size=16', 'model.dim=16', 'model.depth=2', 'model.norm_groups=1', 'dataset.image_size=12')
UNUSUAL = (
    'model.patch_size=3', 'model.stem_kernel_size=4', 'model.kernel_size=3', 'model.reduction=4,2',
    'model.residual_depthwise=false', 'model.residual_block=false', 'model.activation=gelu_exact', 'dataset.channels=1',
)  # fmt: skip


def tiny(*overrides):
    return configuration.load('configs/small.py', [*TINY, *overrides])


@pytest.mark.parametrize(
    ('peer', 'overrides'),
    [('keras-jax', ()), ('keras-tensorflow', UNUSUAL), ('torch', ()), ('torch', UNUSUAL)],
    ids=['keras-jax', 'keras-tensorflow-unusual', 'torch', 'torch-unusual'],
)
def test_a_peer_is_the_same_network_and_measured_beside_it(peer, overrides, monkeypatch):
    """In real processes, with the same variables: logits, and the losses of the first steps (loss, gradient, AdamW)."""
    if any(importlib.util.find_spec(module) is None for module in PEERS[peer].needs):
        pytest.skip(f'{peer} is not installed')
    monkeypatch.setenv('XLA_FLAGS', '--xla_backend_optimization_level=0')  # one device, and quickly compiled
    monkeypatch.setattr(comparison, 'sys', types.SimpleNamespace(platform='without the second process of the peer'))
    result = json.loads(json.dumps(comparison.measure(tiny(*overrides), (peer,), rounds=1, steps=1)))
    assert result['logits_difference']['dsconv'] < 1e-6 and result['logits_difference'][peer] < 1e-5
    assert len(set(result['parameters'].values())) == 1
    (first, second), peers_losses = result['losses'].values()
    assert peers_losses == [pytest.approx(first, rel=1e-5), pytest.approx(second, rel=1e-3)]  # weight decay differs
    for mode, speeds in result['images_per_second'].items():
        assert list(speeds) == ['dsconv', peer] and min(speeds.values()) > 0
        assert result['ratio'][mode] == {peer: pytest.approx(speeds['dsconv'] / speeds[peer])}
    assert (result['allocator'][peer], result['batch_size'], result['steps']) == ('as installed', 16, 1)
    if sys.platform == 'linux':
        assert result['allocator']['dsconv'] == 'tuned'
    assert 'parameters, batches of 16, float32' in comparison.as_text(result)
    assert comparison.draw(result).startswith(b'\x89PNG')


def test_only_kernels_are_exported_with_their_initial_values(tmp_path):
    expected, settings = export(comparison.same_work(tiny()), tmp_path)
    with np.load(settings['arrays'], allow_pickle=False) as arrays:
        variables = {name: arrays[name] for name in arrays.files if '/' in name}
    assert sum(array.size for name, array in variables.items() if name[:7] == 'params/') == expected['parameters']
    for name, array in variables.items():
        initial = {'bias': 0, 'mean': 0, 'scale': 1, 'var': 1}.get(name.rpartition('/')[2])
        assert initial is None or (array != initial).all(), name


def test_another_network_is_refused(monkeypatch):
    monkeypatch.setitem(PEERS, 'stand-in', Peer('tests.benchmarks.fake_library', '', ('json',)))
    contender = comparison.contenders(('stand-in',))['stand-in']

    def measured(parameters=7, logits=1.0, variant='', name='stand-in'):
        expected = {'parameters': parameters, 'logits': np.full((64, 10), logits)}
        return comparison.measure_one(name, contender._replace(settings={'variant': variant}), {}, expected, 1)

    with pytest.raises(RunError, match='stand-in has 7 parameters, not 1,250'):
        measured(parameters=1250)
    with pytest.raises(RunError, match='stand-in is another network: its logits differ by 0.002 of the largest'):
        measured(logits=1.002)
    with pytest.raises(RunError, match='differ by nan'):
        measured(variant='nan')
    with pytest.raises(InputError, match='--peers=stand-in: a_library_that_is_not_installed cannot be imported; pip'):
        measured(variant='missing', name='stand-in+allocator')
    assert measured(logits=1.0005)['difference'] == pytest.approx(0.0005 / 1.0005)


def test_environments(monkeypatch):
    monkeypatch.setattr(sys, 'platform', 'linux')
    monkeypatch.setenv('TF_ENABLE_ONEDNN_OPTS', '0')  # prepare_process sets it
    for name, value in (ALLOCATOR | {SWITCH: 'tuned'}).items():
        monkeypatch.setenv(name, value)
    found = comparison.contenders(('torch', 'keras-jax'))
    assert list(found) == ['dsconv', 'torch', 'torch+allocator', 'keras-jax', 'keras-jax+allocator']
    for name, contender in found.items():
        tuned = {key: value for key, value in contender.environment.items() if key in ALLOCATOR}
        assert tuned == (ALLOCATOR if name.endswith('+allocator') else {}), name
        assert {SWITCH, 'TF_ENABLE_ONEDNN_OPTS'}.isdisjoint(contender.environment)
        assert contender.environment['JAX_PLATFORMS'] == 'cpu'
    # The user's settings are kept, unless those of the project are asked for.
    monkeypatch.setenv('MALLOC_TOP_PAD_', '5')
    monkeypatch.setenv(SWITCH, 'system')
    found = comparison.contenders(('torch',))
    pads = [contender.environment['MALLOC_TOP_PAD_'] for contender in found.values()]
    assert pads == ['5', '5', ALLOCATOR['MALLOC_TOP_PAD_']]
    assert found['dsconv'].environment[SWITCH] == 'system'
    monkeypatch.setattr(sys, 'platform', 'darwin')
    assert list(comparison.contenders(('torch',))) == ['dsconv', 'torch']


def test_the_summary_is_of_medians_and_of_rounds_ratios():
    def found(seconds):
        facts = {'parameters': 7, 'losses': [2.0], 'allocator': 'tuned'}
        return [facts | {'train': [9 * s, s, s / 2], 'inference': [s / 10], 'difference': s / 1e6} for s in seconds]

    # A slow spell in the second round: its ratio is as the first's, which that of the medians is not.
    summary = comparison.summarise({'dsconv': found([1, 10, 1]), 'torch': found([2, 20, 4])}, batch_size=100)
    assert summary['by_round']['train'] == {'dsconv': [100, 10, 100], 'torch': [50, 5, 25]}
    assert summary['images_per_second']['train'] == {'dsconv': 100, 'torch': 25}
    assert summary['images_per_second']['inference'] == {'dsconv': pytest.approx(1000), 'torch': pytest.approx(250)}
    assert summary['spread']['train']['torch'] == [5, 50]
    assert summary['ratio'] == {'train': {'torch': 2}, 'inference': {'torch': pytest.approx(2)}}
    assert summary['logits_difference']['torch'] == pytest.approx(2e-5)
    assert comparison.draw(summary).startswith(b'\x89PNG')


def test_the_work_is_the_network_alone():
    config = comparison.same_work(configuration.load('configs/digits.py', ['optimizer.clip_norm=1']))
    assert (config.augment.policy, config.augment.flip, config.augment.crop_padding) == ('none', 'none', 0)
    assert config.augment.mix_probability == config.loss.label_smoothing == 0
    assert config.optimizer.ema_decay is config.optimizer.clip_norm is None


def test_a_missing_library_is_one_line(monkeypatch):
    monkeypatch.setitem(PEERS, 'odd', Peer('no.matter', '', ('json', 'not_there', 'nor_this')))
    with pytest.raises(InputError, match='--peers=odd needs not_there and nor_this: pip install -r'):
        comparison.measure(tiny(), ('odd',))
    monkeypatch.setitem(PEERS, 'torch-compile', Peer('no.matter', '', ('json',)))
    monkeypatch.setenv('PATH', '')
    monkeypatch.delenv('CXX', raising=False)
    with pytest.raises(InputError, match='torch-compile: there is no C\\+\\+ compiler'):
        comparison.check_installed(('torch-compile',))


def test_what_all_must_return_is_computed_on_the_cpu(monkeypatch):
    import jax

    from benchmarks.network import dsconv_peer

    def export(config, directory):
        raise RunError(jax.config.jax_platforms)

    monkeypatch.setattr(dsconv_peer, 'export', export)
    before = jax.config.jax_platforms
    jax.config.update('jax_platforms', 'tpu,cpu')
    try:
        with pytest.raises(RunError, match='^cpu$'):
            comparison.measure(tiny(), ())
    finally:
        jax.config.update('jax_platforms', before)
