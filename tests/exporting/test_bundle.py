import pytest
from etils import epath

from dsconv.errors import InputError
from dsconv.exporting import bundle


def test_files_are_not_written_into_an_object_store():
    with pytest.raises(InputError, match='gs://bucket/out must be a directory of this machine'):
        bundle.export(epath.Path('gs://bucket/out'), options=None)
