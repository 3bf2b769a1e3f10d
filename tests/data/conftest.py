import pytest

from tests.helpers.network import untouched


@pytest.fixture
def no_network():
    with untouched():
        yield
