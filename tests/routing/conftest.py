import pytest

from mmssl_dynamic.downstream import Splits
from tests.routing.toy import calibrated, split, super_network


@pytest.fixture(scope="package")
def net():
    return super_network()


@pytest.fixture(scope="package")
def bank(net):
    return calibrated(net)


@pytest.fixture(scope="package")
def splits():
    return Splits(split(45, 0), split(30, 1))
