# DSPNet with five MobileNetV3s, on BYOL.
_base_ = ["./byol_heads.py"]

data_preprocessor = dict(
    type="SelfSupDataPreprocessor",
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)
init_from = None  # weights of the largest network to start from, see FromPlain; None: random ones, as in the paper
widths = (0.5, 0.75, 1.0, 1.25, 1.5)
any_width = False  # US3L: every width between the first and the last is trained, and can be used
same_view = 0.0  # POA: weight of a loss between prediction and target of the same view, of all but the largest
directions = "both"  # of each loss; "alternate" trains one a step, drawn anew each time, for less time

model = dict(
    type="mmssl_dynamic.DSPNet",
    init_cfg=dict(type="mmssl_dynamic.FromPlain", init_from=init_from),
    directions=directions,
    same_view=same_view,
    data_preprocessor=data_preprocessor,
    target_bn="momentum",
    backbone=dict(
        type="mmssl_dynamic.SlimmableMobileNetV3",
        arch="large",
        widths=widths,
        any_width=any_width,
        norm_cfg={{_base_.norm_cfg}},
    ),
)
# Gradients are averaged once per step, and not once per network.
model_wrapper_cfg = dict(type="mmssl_dynamic.SandwichDataParallel")
