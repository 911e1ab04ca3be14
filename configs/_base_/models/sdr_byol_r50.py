# SDR on BYOL: BYOL's heads over a super-network, whose moving average is the target, plus SiamKD towards its full one.
_base_ = ["./byol_heads.py"]

data_preprocessor = dict(
    type="SelfSupDataPreprocessor",
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)
init_from = None  # weights of a plain network to start from, see FromPlain; None: random ones, as in the paper
directions = "both"  # of each loss; "alternate" trains one a step, drawn anew each time, for less time

model = dict(
    type="mmssl_dynamic.SDRBYOL",
    init_cfg=dict(type="mmssl_dynamic.FromPlain", init_from=init_from),
    directions=directions,
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type="mmssl_dynamic.SDRResNet",
        depth=50,
        stage_groups=(4, 4, 4, 4),
        norm_cfg={{_base_.norm_cfg}},
        zero_init_residual=True,
    ),
    distillation=dict(type="mmssl_dynamic.SiamKD", weight=4.0),  # BYOL's loss is four times SimSiam's
)
