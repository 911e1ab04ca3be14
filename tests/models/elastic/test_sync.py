"""Two gloo processes stand for one process with the joint batch."""

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from mmssl_dynamic.models.elastic import ActiveSubnet, Channels, ElasticBatchNorm, Selection, select

CHOICE = Selection(6, ((0, 2), (4, 6)))


def layer():
    torch.manual_seed(0)
    subnet = ActiveSubnet()
    channels = Channels(6, subnet)
    norm = ElasticBatchNorm(channels, sync=True)
    torch.nn.init.normal_(norm.weight), torch.nn.init.normal_(norm.bias)
    return subnet, channels, norm


def run(x, weights):
    """Outputs and gradients of a full and of a partial pass."""
    subnet, channels, norm = layer()
    x = x.clone().requires_grad_()
    full = norm(x)
    with select(subnet, "a", [(channels, CHOICE)]):
        part = norm(x[:, [0, 1, 4, 5]])
    ((full * weights).sum() + (part * weights[:, :4]).sum()).backward()
    return [full.detach(), part.detach(), x.grad, norm.weight.grad, norm.running_mean, norm.running_var]


def data():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 6, 3, 3, generator=generator) + 3, torch.randn(6, 6, 3, 3, generator=generator)


def work(rank, path, out):
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    x, weights = data()
    part = slice(0, 2) if rank == 0 else slice(2, 6)  # unequal parts: the mean is over images, not over processes
    torch.save(run(x[part], weights[part]), f"{out}/{rank}.pt")
    dist.destroy_process_group()


def test_statistics_of_two_processes_are_those_of_the_joint_batch(tmp_path):
    mp.spawn(work, args=(str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    joint = run(*data())
    for index in (0, 1, 2):  # outputs and input gradients: each process has its images
        torch.testing.assert_close(torch.cat([one[index], two[index]]), joint[index], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one[3] + two[3], joint[3], rtol=1e-4, atol=1e-5)
    for index in (4, 5):
        torch.testing.assert_close(one[index], joint[index])
        assert torch.equal(one[index], two[index])
