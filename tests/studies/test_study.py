import functools

import jax
import jax.numpy as jnp
import pytest

from dsconv import config as configuration
from dsconv.errors import InputError
from dsconv.studies.study import BUILT_IN, of_models, overrides_by_variant, read_study
from dsconv.training.network import build_network

TWO = "title = 'Kernels'\n[variants.small]\n[variants.'7 wide']\nmodel.kernel_size = 7\n"


def test_a_file_of_ones_own(tmp_path):
    file = tmp_path / 'mine.toml'
    file.write_text(
        TWO + 'model.reduction = [2, 8]\noptimizer.clip_norm = 0.5\n'
        "[variants.'7 wide'.dataset]\nname = 'digits'\n[variants.'7 wide'.log]\ntensorboard = false\n"
    )
    study = read_study(str(file))
    assert (study.name, study.title) == ('mine', 'Kernels')
    assert list(study.variants) == ['small', '7 wide'] and study.variants['small'] == ()
    assert study.variants['7 wide'] == (
        'model.kernel_size=7', 'model.reduction=2,8', 'optimizer.clip_norm=0.5', 'dataset.name=digits',
        'log.tensorboard=false',
    )  # fmt: skip


@functools.cache  # most studies have the same first network
def shape_of_logits(network):
    return jax.eval_shape(network.init_with_output, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))[0].shape


@pytest.mark.parametrize('name', sorted(file.stem for file in BUILT_IN.glob('*.toml')))
def test_a_built_in_study_varies_the_thesis_and_fits_the_configs(name):
    study, small = read_study(name), 'configs/small.py'
    for overrides in study.variants.values():
        configuration.load('configs/digits.py', list(overrides))
    settings = [configuration.load(small, list(overrides)) for overrides in study.variants.values()]
    assert settings[0] == configuration.load(small)
    assert len({str(one) for one in settings}) == len(settings)  # no two ask the same
    assert {one.batch_size // one.model.norm_groups for one in settings} == {64} or name != 'batch_size'
    taken = overrides_by_variant(study, small, ['model.depth=1', 'dataset.class_names=0,1,2,3,4,5,6,7,8,9'])
    settings = [configuration.load(small, [*taken[name], *own]) for name, own in study.variants.items()]
    assert {shape_of_logits(build_network(one)) for one in settings} == {(1, 10)}


def test_the_three_sizes_are_those_of_their_configs():
    variants = read_study('thesis_table_2').variants
    for size in ('Small', 'Medium', 'Large'):
        theirs = configuration.load(f'configs/{size.lower()}.py')
        assert configuration.load('configs/large.py', list(variants[size])) == theirs


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('title = ', r'mine.toml is not TOML: '),
        ('[variants.a]\n[variants.b]', 'needs title = '),
        ("title = 'x'\n[variant.a]\n[variant.b]", 'there is no key variant; did you mean variants?'),
        ("title = 'x'\n[variants]\na = 3\nb = 4", r'the variant a must be a table, \[variants."a"\]'),
        ("title = 'x'\n[variants.a]\n[variants.'b/c']", "the variant 'b/c' cannot be a directory"),
        (TWO + "eval.final_split = 'test'", 'eval.final_split cannot be varied: a study is scored on the validation'),
    ],
)
def test_what_is_wrong_with_a_file_is_said(content, message, tmp_path):
    file = tmp_path / 'mine.toml'
    file.write_text(content)
    with pytest.raises(InputError, match=f'^--study={file}.*{message}'):
        read_study(str(file))


def test_models_are_variants_and_an_option_goes_to_those_that_take_it():
    study = of_models('dsconv,resnet8', ('dsconv', 'resnet8'))
    assert study.variants == {'dsconv': ('model.name=dsconv',), 'resnet8': ('model.name=resnet8',)}
    taken = overrides_by_variant(study, 'configs/digits.py', ['model.dim=8', 'epochs=3'])
    assert taken == {'dsconv': ['model.dim=8', 'epochs=3'], 'resnet8': ['epochs=3']}
    taught = ['loss.teachers=runs/wide', 'loss.teacher_weight=1']
    assert overrides_by_variant(study, 'configs/digits.py', taught) == {'dsconv': taught, 'resnet8': taught}
    with pytest.raises(InputError, match='^--config.model.dim=8 has no effect: no variant of --models takes it'):
        overrides_by_variant(
            of_models('resnet20,resnet8', ('resnet20', 'resnet8')), 'configs/digits.py', ['model.dim=8']
        )
    for models, message in (
        ('a,resnet', r"--models: 'resnet' is not one of a, resnet8; did you mean resnet8\?"),
        ('a,resnet8,a', '--models=a,resnet8,a names a twice'),
        ('a', '--models=a is only one network'),
    ):
        with pytest.raises(InputError, match=f'^{message}'):
            of_models(models, ('a', 'resnet8'))


def test_every_built_in_study_is_named_on_its_page():
    page = (BUILT_IN.parents[1] / 'docs' / 'studies.md').read_text(encoding='utf-8')
    assert [file.stem for file in sorted(BUILT_IN.glob('*.toml')) if f'`{file.stem}`' not in page] == []
