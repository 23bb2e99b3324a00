"""How folders are read. The files are empty, since listing opens none."""

import collections
import unicodedata

import pytest

from dsconv.data.listing import list_pictures
from dsconv.errors import InputError

ALL, ONE_EACH = ('train', 'validation', 'test'), {'cat': 1, 'dog': 1}
# Files → split → class → number of pictures.
LAYOUTS = {
    'all splits': ('{train,valid,test}/{cat,dog}/1.png', dict.fromkeys(ALL, ONE_EACH)),
    'other names': ('{Training,VALIDATION,test_set}/{cat,dog}/1.png', dict.fromkeys(ALL, ONE_EACH)),
    'a wrapper': ('data/{cat,dog}/1.png __MACOSX/data/cat/._1.png', {'': ONE_EACH}),
    'a wrapper in a split': (
        'train/images/{cat,dog}/1.png test/images/cat/tabby/1.png', {'train': ONE_EACH, 'test': {'cat': 1}}),
    'subfolders of a class': ('cat/1.png cat/tabby/old/1.png dog/poodle/1.png', {'': {'cat': 2, 'dog': 1}}),
    'what others leave behind': (
        '{@eaDir,__pycache__,lost+found,.ipynb_checkpoints}/1.png {cat,dog}/1.png cat/{@eaDir,.x}/1.png cat/Thumbs.db',
        {'': ONE_EACH}),
    'an unlabelled test': ('train/{cat,dog}/1.png test/1.png', {'train': ONE_EACH}),
    'a test of nothing known': ('train/{cat,dog}/1.png test/unknown/1.png', {'train': ONE_EACH}),
    'a folder beside train alone': ('train/{cat,dog}/1.png docs/1.png', {'train': ONE_EACH}),
    'kinds of files': ('cat/{a.jfif,b.JPG,c,d.npy,e.dcm} dog/1.tiff', {'': {'cat': 3, 'dog': 1}}),
}  # fmt: skip


@pytest.fixture
def listed(settings):
    return lambda root, **changed: list_pictures(root, settings(**changed))


def make(root, paths):
    for path in paths.split():
        start, brace, rest = path.partition('{')
        names, _, end = rest.partition('}')
        if brace:
            make(root, ' '.join(f'{start}{name}{end}' for name in names.split(',')))
        else:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            if path.endswith('@'):
                (root / path.removesuffix('@')).symlink_to('nothing')
            else:
                (root / path).touch()
    return root


def counts(listing):
    found = collections.defaultdict(collections.Counter)
    for path, label, split in zip(listing.paths, listing.labels, listing.splits, strict=True):
        assert f'/{listing.class_names[label]}/' in path and path.startswith(listing.where[split])
        found[split][listing.class_names[label]] += 1
    return found


@pytest.mark.parametrize('case', LAYOUTS)
def test_layouts(listed, tmp_path, case):
    paths, expected = LAYOUTS[case]
    listing = listed(make(tmp_path, paths))
    assert counts(listing) == expected
    assert list(listing.paths) == sorted(listing.paths) or len(listing.where) > 1


def test_what_is_left_out_or_opened_is_said(listed, tmp_path):
    notes = listed(make(tmp_path / 'a', LAYOUTS['an unlabelled test'][0])).notes
    assert len(notes) == 1 and 'test: ignored' in notes[0] and '`predict`' in notes[0]
    flat = listed(make(tmp_path / 'flat', '{cat,dog,test}/1.png'))
    assert flat.class_names == ('cat', 'dog', 'test') and 'test: read as a class' in flat.notes[0]
    make(tmp_path / 'b', LAYOUTS['kinds of files'][0])
    (tmp_path / 'b' / 'cat' / 'Icon\r').touch()  # of macOS
    listing = listed(tmp_path / 'b')
    assert len(listing.paths) == 4 and listing.other_files == {'.npy': 1, '.dcm': 1} and not listing.notes
    listing = listed(make(tmp_path / 'c', '{train,val}/{cat,Cat}/1.png'), validation_fraction=0.1)
    assert set(listing.where) == {'train'}
    assert ['val: ignored' in listing.notes[0], 'Cat and cat' in listing.notes[1]] == [True, True]
    listing = listed(make(tmp_path / 'd', 'train/{cat,dog}/1.png train/{1,2}.png'))
    assert listing.notes == (f'{tmp_path}/d/train: 2 picture(s) beside the class folders are left out',)
    holder = make(tmp_path / 'e', 'train/cats/{2020,2021}/1.png') / 'train'
    for given in (holder, holder.parent):
        listing = listed(given)
        assert listing.notes == (
            f'{holder}: contains only one folder, so the classes are those in {holder / "cats"}: 2020, 2021',
        )


def test_a_name_composed_and_decomposed_is_one_class(listed, tmp_path):
    name, decomposed = 'café', unicodedata.normalize('NFD', 'café')
    paths = f'train/{name}/1.png {{train,test}}/{decomposed}/2.png train/cafz/1.png'
    listing = listed(make(tmp_path, paths))
    assert listing.class_names == ('cafz', name) and sorted(listing.labels.tolist()) == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ('paths', 'message'),
    [
        ('{train,val,valid}/{cat,dog}/1.png', 'are both the validation split'),
        ('{test,val}/{cat,dog}/1.png', 'but no train/'),
        ('train/{cat,dog}/1.png test@', 'test: this link is broken'),
        ('{cat,dog}/1.png dog/more@', 'dog/more: this link is broken'),
        ('train/{cat,dog}/1.png test/{cat,cow}/1.png', "class 'cow' is in .*add it there, or remove it"),
        ('train/{cat,dog}/1.png test/{cat,Dog}/1.png', "class 'Dog' is in .*; did you mean dog?"),
    ],
)
def test_what_cannot_be_read(listed, tmp_path, paths, message):
    with pytest.raises(InputError, match=message):
        listed(make(tmp_path, paths))


def test_other_data_need_not_be_called_train(settings, tmp_path):
    root = make(tmp_path, 'test/{cat,dog}/1.png')
    assert list_pictures(root, settings(), whole=True).class_names == ('cat', 'dog')


def test_splits_are_named_completely_or_not_at_all(listed, tmp_path):
    root = make(tmp_path, '{train,holdout}/{cat,dog}/1.png')
    with pytest.raises(InputError, match='has no folder that dataset.splits names for train'):
        listed(root, splits=('test=holdout',))
    assert set(listed(root, splits=('test=holdout', 'train=train')).where) == {'train', 'test'}


def test_links_are_followed_unless_they_lead_back(listed, tmp_path):
    root = make(tmp_path / 'root', 'cat/1.png dog/1.png')
    make(tmp_path / 'elsewhere', 'deep/1.png')
    (root / 'dog' / 'more').symlink_to(tmp_path / 'elsewhere')
    (root / '.#lock').symlink_to('nobody@nowhere')
    (root / 'dog' / '.#1.png').symlink_to('nobody@nowhere')
    assert counts(listed(root)) == {'': {'cat': 1, 'dog': 2}}
    for target in (tmp_path, root, root / 'dog'):
        (tmp_path / 'elsewhere' / 'back').symlink_to(target)
        with pytest.raises(InputError, match='dog/more/back: this link points to a folder that contains it'):
            listed(root)
        (tmp_path / 'elsewhere' / 'back').unlink()
