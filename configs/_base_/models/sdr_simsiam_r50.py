# SDR (AAAI 2022) on SimSiam: the same heads over a super-network, plus SiamKD towards W_0.
_base_ = ["./simsiam_r50.py"]

init_from = None  # weights of a plain network to start from, see FromPlain; None: random ones, as in the paper
directions = "both"  # of each loss; "alternate" trains one a step, drawn anew each time, for less time

model = dict(
    type="mmssl_dynamic.SDR",
    init_cfg=dict(type="mmssl_dynamic.FromPlain", init_from=init_from),
    directions=directions,
    backbone=dict(
        _delete_=True,
        type="mmssl_dynamic.SDRResNet",
        depth=50,
        stage_groups=(4, 4, 4, 4),
        norm_cfg=dict(type="SyncBN"),
        zero_init_residual=True,
    ),
    neck=dict(
        _delete_=True,
        type="mmssl_dynamic.ElasticProjector",  # in_channels follows from the backbone
        hid_channels=2048,
        out_channels=2048,
        num_layers=3,
        with_last_bn_affine=False,
        with_avg_pool=True,
        norm_cfg=dict(type="SyncBN"),
    ),
    distillation=dict(type="mmssl_dynamic.SiamKD"),
)
