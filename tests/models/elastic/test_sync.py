"""Two gloo processes stand for one process with the joint batch."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from mmssl_dynamic.models.elastic import ActiveSubnet, Channels, ElasticBatchNorm, Selection, bound, select

CHOICE = Selection(6, ((0, 2), (4, 6)))


def layer():
    torch.manual_seed(0)
    subnet = ActiveSubnet()
    channels = Channels(6, subnet)
    norm = ElasticBatchNorm(channels, sync=True)
    torch.nn.init.normal_(norm.weight), torch.nn.init.normal_(norm.bias)
    return subnet, channels, norm


def run(x, weights, **compiled):
    """Outputs and gradients of a full and of a partial pass; with options of torch.compile, by graphs."""
    subnet, channels, norm = layer()
    x = x.clone().requires_grad_()
    forward = torch.compile(norm.forward, fullgraph=True, dynamic=False, **compiled) if compiled else norm
    with bound([norm] if compiled else []):
        full = forward(x)
    with select(subnet, "a", [(channels, CHOICE)]), bound([norm] if compiled else []):
        part = forward(x[:, [0, 1, 4, 5]])
    ((full * weights).sum() + (part * weights[:, :4]).sum()).backward()
    return [full.detach(), part.detach(), x.grad, norm.weight.grad, norm.running_mean, norm.running_var]


def data():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 6, 3, 3, generator=generator) + 3, torch.randn(6, 6, 3, 3, generator=generator)


def work(rank, path, out, backends):
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    x, weights = data()
    part = slice(0, 2) if rank == 0 else slice(2, 6)  # unequal parts: the mean is over images, not over processes
    half = [tensor[part].to(torch.bfloat16) for tensor in (x, weights)]
    by_graphs = [run(x[part], weights[part], backend=backend) for backend in backends]
    torch.save([run(x[part], weights[part]), run(*half), *by_graphs], f"{out}/{rank}.pt")
    dist.destroy_process_group()


def found(folder, *backends):
    """Of both processes, what :func:`run` gives in single and half precision, and by graphs."""
    mp.spawn(work, args=(str(folder / "store"), str(folder), backends), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def test_statistics_of_two_processes_are_those_of_the_joint_batch(tmp_path):
    (one, half), (two, _) = found(tmp_path)
    joint = run(*data())
    for index in (0, 1, 2):  # outputs and input gradients: each process has its images
        torch.testing.assert_close(torch.cat([one[index], two[index]]), joint[index], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one[3] + two[3], joint[3], rtol=1e-4, atol=1e-5)
    for index in (4, 5):
        torch.testing.assert_close(one[index], joint[index])
        assert torch.equal(one[index], two[index])
        # Statistics are not taken in half precision; images are in it.
        torch.testing.assert_close(half[index], one[index], rtol=1e-3, atol=1e-3)
    assert half[0].dtype == torch.bfloat16


@pytest.mark.slow
def test_compiled_statistics_of_two_processes_and_their_gradients_are_the_uncompiled_ones(tmp_path):
    for one, _, traced, ahead in found(tmp_path, "eager", "aot_eager"):
        assert all(map(torch.equal, traced, one))
        torch.testing.assert_close(ahead, one, rtol=1e-5, atol=1e-5)
