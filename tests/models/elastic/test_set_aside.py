import pytest
import torch

from mmssl_dynamic.models.elastic import Selection, SetAside, inactive_blocks

TWO_RANGES = Selection(12, ((0, 6), (8, 10)))
PREFIX = Selection(12, ((0, 5),))


def outside(tensor, region):
    mask = torch.zeros(tensor.shape, dtype=torch.bool)
    for block in inactive_blocks(tensor, region):
        mask[block] = True
    return mask


@pytest.mark.usefixtures("copying")
@pytest.mark.parametrize("region", [(TWO_RANGES, PREFIX), (PREFIX, None), (None, TWO_RANGES), (TWO_RANGES,)])
def test_what_is_set_aside_is_zero_until_it_is_put_back_to_the_bit(region):
    torch.manual_seed(0)
    tensor = torch.randn(12, 12, 3, 3).to(memory_format=torch.channels_last)
    tensor[11, 11] = float("nan")
    before, mask = tensor.clone(), outside(tensor, region)
    aside = SetAside([(tensor, region)])
    assert torch.count_nonzero(tensor[mask]) == 0
    assert torch.equal(tensor[~mask], before[~mask])
    tensor.add_(1)
    aside.put_back()
    assert torch.equal(tensor[mask].view(torch.int32), before[mask].view(torch.int32))
    assert torch.equal(tensor[~mask], before[~mask] + 1)


@pytest.mark.usefixtures("copying")
def test_tensors_that_a_loss_reads_can_be_set_aside():
    parameter = torch.randn(12, requires_grad=True)
    before = parameter.detach().clone()
    aside = SetAside([(parameter, (PREFIX,))])
    aside.put_back()
    assert torch.equal(parameter, before)
    assert parameter.requires_grad
    assert parameter.is_leaf
