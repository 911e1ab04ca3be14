"""SDR on MoCo-v2: phase 0 is MoCo-v2, and a sub-network finds the key of the same sub-network among a queue."""

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch.optim import SGD

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.subnets import FULL
from tests.helpers import MOCO_HEAD, MOCO_NECK, WIDTHS, build_sdr, samples, views

OPTIONS = dict(lr=0.05, momentum=0.9, weight_decay=1e-4)
PATH = "0-3-1-2"


def build(queue_len=24, **options):
    return build_sdr(kind="SDRMoCo", neck=MOCO_NECK, head=MOCO_HEAD, queue_len=queue_len, **options)


def test_the_full_network_alone_equals_mmpretrains_moco_for_20_steps():
    """In one process, where both leave the batch together: MoCo's shuffling BN only changes the order of its sums."""
    ours = build().double()  # the moving averages round differently, which grows from step to step
    moco = MODELS.build(
        dict(
            type="MoCo",
            queue_len=24,
            feat_dim=16,
            momentum=0.01,
            backbone=dict(type="mmssl_dynamic.StaticResNet", depth=18, stage_channels=WIDTHS, stem_channels=8),
            neck=dict(type="MoCoV2Neck", in_channels=32, hid_channels=32, out_channels=16),
            head=MOCO_HEAD,
        )
    ).train()
    moco.double()
    renamed = {"neck.fc0.": "neck.mlp.0.", "neck.fc1.": "neck.mlp.2."}
    state = {k: v for k, v in ours.state_dict().items() if not k.startswith("target_net")}
    for old, new in renamed.items():
        state = {key.replace(old, new): value for key, value in state.items()}
    missing, unexpected = moco.load_state_dict(state, strict=False)
    assert all(key.startswith(("encoder_k.", "queue_ptr")) for key in missing)
    assert unexpected == ["keys_seen"]
    mine = SGD([p for p in ours.parameters() if p.requires_grad], **OPTIONS)
    theirs = SGD([*moco.backbone.parameters(), *moco.neck.parameters()], **OPTIONS)
    losses = []
    for step in range(20):
        mine.zero_grad(), theirs.zero_grad()
        inputs = [view.double() for view in views(step)]
        loss = ours.loss(inputs, samples(FULL))["loss_ssl"]
        reference = moco.loss(inputs, samples(FULL))["loss"]  # moves its momentum encoder first
        assert float(loss.detach()) == pytest.approx(float(reference.detach()), rel=1e-7), step
        torch.testing.assert_close(ours.queue, moco.queue, rtol=1e-6, atol=1e-8)
        loss.backward(), reference.backward()
        mine.step(), theirs.step()
        ours.update_target(0.01)  # TargetEMAHook, after the step
        losses.append(float(loss.detach()))
    assert len(set(losses)) == 20
    assert int(ours.keys_seen) == 160
    assert int(moco.queue_ptr) == 160 % 24
    for name, value in moco.backbone.state_dict().items():
        torch.testing.assert_close(ours.backbone.state_dict()[name], value, rtol=1e-6, atol=1e-8, msg=name)


def test_a_subnet_finds_its_own_key_and_is_drawn_to_the_full_ones():
    sdr = build(distillation=dict(type="mmssl_dynamic.SiamKD", weight=2.0))
    with torch.no_grad():  # a momentum encoder that is no copy of the online network
        for parameter in sdr.target_net.parameters():
            parameter.mul_(1.1)
    query, key = views(0)
    queue = sdr.queue.clone()
    losses = sdr.loss([query, key], samples(PATH))
    target = sdr.target_net
    with sdr.backbone.subnet(PATH):
        q = sdr.neck(sdr.backbone(query))[0]
    with torch.no_grad(), target[0].subnet(PATH):
        k = F.normalize(target(key)[0], dim=1)
    with torch.no_grad():
        full = target(key)[0]
    logits = F.normalize(q, dim=1) @ torch.cat([k.T, queue], dim=1) / 0.2
    positive, negatives = logits[:, :8].diag()[:, None], logits[:, 8:]
    expected = F.cross_entropy(torch.cat([positive, negatives], dim=1), torch.zeros(8, dtype=torch.long))
    torch.testing.assert_close(losses["loss_ssl"], expected)
    torch.testing.assert_close(losses["loss_kd"], -2 * F.cosine_similarity(q, full).mean())
    torch.testing.assert_close(sdr.queue[:, :8], k.T)
    assert torch.equal(sdr.queue[:, 8:], queue[:, 8:])


def test_only_the_online_subnet_gets_gradients_and_no_image_of_a_cluster_moves_full_statistics():
    sdr = build()
    kept = {k: v.clone() for k, v in sdr.state_dict().items() if "running" in k}
    losses = sdr.loss(views(0), samples(PATH))
    (losses["loss_ssl"] + losses["loss_kd"]).backward()
    assert all(p.grad is None for p in sdr.target_net.parameters())
    touched = sum(int(torch.count_nonzero(p.grad)) for p in sdr.backbone.parameters() if p.grad is not None)
    assert 0 < touched <= sdr.backbone.num_parameters(PATH)
    assert all(torch.equal(sdr.state_dict()[key], value) for key, value in kept.items())


def test_siamkd_asks_the_full_network_for_one_view_only():
    sdr = build()
    seen = []
    teacher = sdr.teacher
    sdr.teacher = lambda view: seen.append(view) or teacher(view)
    inputs = views(0)
    sdr.loss(inputs, samples(PATH))
    assert [view is inputs[1] for view in seen] == [True]


def test_the_queue_is_a_ring_whatever_its_length_and_must_hold_a_batch():
    sdr = build(queue_len=20)
    for step, name in enumerate((FULL, PATH, "1-1-1-1")):
        before = sdr.queue.clone()
        sdr.loss(views(step), samples(name))
        changed = (sdr.queue != before).any(dim=0).nonzero().flatten().tolist()
        assert changed == sorted((8 * step + i) % 20 for i in range(8))
        assert torch.allclose(sdr.queue.norm(dim=0), torch.ones(20), atol=1e-6)
    with pytest.raises(ConfigError, match="queue_len=6 must hold a batch of 8 images"):
        build(queue_len=6).loss(views(0), samples(FULL))
