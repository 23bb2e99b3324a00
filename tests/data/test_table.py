"""Tables of pictures as people have them, and the table that a run keeps of its pictures."""

import gzip

import numpy as np
import pytest
from PIL import Image

from dsconv.data import open_source
from dsconv.data.table import list_table
from dsconv.errors import InputError


@pytest.fixture
def listed(settings, tmp_path):
    """Writes a table and the empty files it is about; returns its `Listing`."""

    def make(text, files='', encoding='utf-8', **changed):
        for name in files.split():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / 'train.csv').write_bytes(text.encode(encoding))
        return list_table(tmp_path / 'train.csv', settings(**changed))

    return make


# A table, settings, and path, class and split of each picture.
TABLES = {
    'an extension left out': ('id,breed\na,pug\nb/c,boxer\n', {}, 'a.jpg pug , b/c.png boxer '),
    'pandas, Excel': ('\ufeff,filename,class\n0,a.png,cat\n1,b.png,dog\n', {}, 'a.png cat , b.png dog '),
    'numbers in order': ('\r\nImage Name;Category\r\na.png;10\r\nb.png;9\r\n', {}, 'a.png 10 , b.png 9 '),
    'splits, quotes, a row without a label': (
        'split\tpath\tlabel\nTrain\t"a""1"".png"\tcat\nTrain\tb.png\tdog\nval\tc.png\tcat\ntest\td.png\t\n',
        {}, 'a"1".png cat train, b.png dog train, c.png cat validation'),
    'validation rows that a fold replaces': (
        'path,label,split\na.png,cat,train\nb.png,dog,train\nc.png,cow,val\n', dict(fold='1/2'),
        'a.png cat train, b.png dog train'),
    'columns and splits by keys': ('x,y,fold,label\na.png,cat,1,u\nb.png,dog,1,v\nc.png,cat,2,v\n',
        dict(image_key='x', label_key='y', split_key='fold', splits=('train=1', 'test=2')),
        'a.png cat train, b.png dog train, c.png cat test'),
    'labels in a column that is usually of groups': (
        'path,scene\na.png,beach\nb.png,hill\n', dict(label_key='scene'), 'a.png beach , b.png hill '),
    'no groups, whatever the columns are called': ('path,kind,group,set\na.png,cat,x,new\nb.png,dog,x,old\n',
        dict(group_key='-', split_key='-'), 'a.png cat , b.png dog '),
    'Windows, a file twice': ('path,label\nb\\a.png,cat\nb/./a.png,cat\nc.png,dog\n', {}, 'b/a.png cat , c.png dog '),
    'a folder beside a picture of its name, a long text': (
        f'id,label,mask\nb,cat,{"1 " * 99_999}\nc.png,dog,\n', {}, 'b.png cat , c.png dog '),
}  # fmt: skip


@pytest.mark.parametrize('case', TABLES)
def test_tables(listed, case):
    text, changed, expected = TABLES[case]
    listing = listed(text, 'a.jpg b/c.png b.png', **changed)
    paths = [path.removeprefix(f'{listing.root}/') for path in listing.paths]
    names = [listing.class_names[label] for label in listing.labels]
    rows = [' '.join(row) for row in zip(paths, names, listing.splits, strict=True)]
    assert rows == expected.split(', ') and listing.groups is None
    assert list(listing.class_names) == sorted(set(names), key=lambda name: (name.isdecimal() * len(name), name))


@pytest.mark.parametrize(
    ('text', 'changed', 'message'),
    [
        ('', {}, 'is empty'),
        ('path,label\na,cat\n', {}, r'holds 1 class\(es\)'),
        ('a,b,c\n1,2,3\n', {}, 'which column holds the paths\\? It has a, b, c: .*image_key=c'),
        ('path,label,x,y,split\na,cat,1,2,train\n', dict(label_key='-'), 'which column holds the labels.*label_key=y'),
        ('path,label\na,cat\n', dict(label_key='y'), 'dataset.label_key=y is not a column of .*, which has path'),
        ('path,label,split\na,cat,fold1\n', {}, "split 'fold1' of .*/a is not a known .*splits=train=a,test=b"),
        ('path,label,split\na,cat,test\nb,dog,test\n', {}, 'no training rows, only test'),
        ('path,label\na,cat\nb,dog\n', dict(splits=('train=a',)), 'has no split a'),
        ('path,label,split\na,cat,1\n', dict(splits=('train=1', 'test=1')), '1 cannot be both train and test'),
        ('path,label\na.png,cat\n./a.png,dog\n', {}, 'line 3: ./a.png is listed twice, with different values'),
        ('path,label\nmy,cat.png,cat\nb.png,dog\n', {}, 'line 2: has 3 cells, but the header has 2'),
        ('path,label,split,patient\na,cat,train,p\nb,dog,test,p\n', {}, 'the group p is in train and in test'),
        ('path,label,split\na,cat,train\nb,dog,train\nc,dgo,test\n', {}, "'dgo' is in test but not .* mean dog"),
        ('path,label\na,cat\n', dict(encoding='utf-16'), 'save it as CSV in UTF-8'),
        ('path,label\na,café\nb,dog\n', dict(encoding='cp1252'), 'is not UTF-8: save the table as CSV in UTF-8'),
        ('path,label\na,cat\nb,"dog\nc,cat\n', {}, 'line 4: unexpected end of data'),
    ],
)
def test_what_is_wrong_with_a_table(listed, text, changed, message):
    with pytest.raises(InputError, match=message):
        listed(text, **changed)


def test_labels_that_differ_only_in_case_are_noted(listed):
    assert listed('path,label\na.png,cat\nb.png,Cat\nc.png,\n').notes[0].startswith('Cat and cat are classes')


def test_a_table_that_is_gzipped_or_cut_short(settings, tmp_path):
    (tmp_path / 'ALL.CSV.GZ').write_bytes(gzip.compress(b'path,label\na.png,cat\nb.png,dog\n'))
    assert list_table(tmp_path / 'ALL.CSV.GZ', settings()).class_names == ('cat', 'dog')
    (tmp_path / 'cut.csv.gz').write_bytes(gzip.compress(b'path,label\n' * 9)[:-9])
    with pytest.raises(InputError, match='cut.csv.gz is damaged'):
        list_table(tmp_path / 'cut.csv.gz', settings())


@pytest.mark.parametrize('tested', [0, 6])  # patients whose pictures the table itself has for its test split
def test_a_group_is_in_one_split_and_the_classes_keep_their_shares(settings, write_pictures, tested):
    root = write_pictures(count=60)
    files = sorted(root.rglob('*.png'))
    patients = np.random.default_rng(0).integers(0, 30, len(files))
    splits = np.where(patients < tested, 'test', 'train' if tested else '')
    lines = [f'{f},{f.parent.name},p{p},{s}\n' for f, p, s in zip(files, patients, splits, strict=True)]
    (root / 'all.csv').write_text(f'path,label,patient,{"split" if tested else ""}\n' + ''.join(lines))
    source = open_source(settings(name=f'image_table:{root}/all.csv', validation_fraction=0.25, train_fraction=0.8))
    assert list_table(root / 'all.csv', settings(), whole=True).groups is None
    table = gzip.decompress(source.table()).decode().splitlines()[1:]
    split_of = {}
    for line, patient in zip(table, patients, strict=True):
        assert split_of.setdefault(patient, (part := line.rpartition(',')[2].strip('"'))) == part
    assert set(split_of.values()) == {'train', 'validation', 'test', ''}
    for name, share in (('test', 24), ('validation', 24), ('train', 58)):
        assert abs(source.split_sizes[name] - share) <= 6
        assert abs(np.diff(np.bincount(source.load(name).labels))[0]) <= 8
    train = source.load('train')
    assert [source.class_names[label] for label in train.labels] == [path.split('/')[-2] for path in train.paths]
    assert np.array_equal(train.images(np.arange(4)), np.stack([Image.open(path) for path in train.paths[:4]]))


def test_the_kept_table_opens_the_same_whatever_the_folder_has_become(settings, write_pictures, tmp_path):
    names = ('Ant, "b"', ' bee ', 'two\nlines', '\udcff', 'a\rb')
    root = write_pictures(classes=names, count=6)
    options = dict(name=f'image_folder:{root}', validation_fraction=0.25, train_fraction=0.7, class_names=names)
    source = open_source(settings(**options))
    (tmp_path / 'kept.csv.gz').write_bytes(source.table())
    for path in list(root.rglob('00[0-4].png')):
        (path.parent / f'0{path.name}').write_bytes(path.read_bytes())
    again = open_source(settings(**options), listed=tmp_path / 'kept.csv.gz')
    assert again.split_sizes == source.split_sizes != open_source(settings(**options)).split_sizes
    assert again.class_names == source.class_names == names and again.table() == source.table()
    for split in source.split_sizes:
        (old, new), rows = (s.load(split) for s in (source, again)), np.arange(source.split_sizes[split])
        assert np.array_equal(old.labels, new.labels) and np.array_equal(old.images(rows), new.images(rows))


def test_a_picture_without_a_group_is_one_of_its_own(listed):
    groups = listed('path,label,patient\na.png,cat,p\nb.png,dog,\nc.png,cat,\nd.png,dog,p\n').groups.tolist()
    assert groups[0] == groups[3] and len(set(groups)) == 3
