# DSPNet's networks on SimSiam in place of BYOL: no target network, so a step costs less, and it learns more in minutes.
#
#   python tools/train.py configs/demo/slimmable-simsiam_demo.py --cfg-options data_root=data/my_images
#
# Time and memory: minutes on two cores; memory not measured. Result: not measured by itself; the study of slimmable
# networks has it at 48 px.
_base_ = ["./dspnet_demo.py"]

max_epochs = 12
warmup_epochs = 1
num_networks = 4
student_bn = "mmssl_dynamic.SyncBN"
head_norm_cfg = dict(type="BN1d" if student_bn == "BN" else student_bn)
init_from = None  # weights of the largest network to start from, see FromPlain; None: random ones

model = dict(
    _delete_=True,
    type="mmssl_dynamic.SlimmableSimSiam",
    init_cfg=dict(type="mmssl_dynamic.FromPlain", init_from=init_from),
    data_preprocessor={{_base_.data_preprocessor}},
    backbone={{_base_.model.backbone}},
    neck=dict(
        type="mmssl_dynamic.ElasticProjector",  # in_channels follows from the backbone
        hid_channels=512,
        out_channels=512,
        num_layers=3,
        with_last_bn_affine=False,
        with_avg_pool=True,
        norm_cfg=head_norm_cfg,
    ),
    head=dict(
        type="LatentPredictHead",
        loss=dict(type="CosineSimilarityLoss"),
        predictor=dict(
            type="NonLinearNeck",
            in_channels=512,
            hid_channels=128,
            out_channels=512,
            with_avg_pool=False,
            with_last_bn=False,
            with_last_bias=True,
            norm_cfg=head_norm_cfg,
        ),
    ),
)
# The recipe of simsiam_demo.py: no warm-up of the rate, the predictor's stays.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="SGD", lr=0.05, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(_delete_=True, custom_keys={"predictor": dict(fix_lr=True)}),
)
param_scheduler = [dict(type="CosineAnnealingLR", T_max=max_epochs, by_epoch=True, begin=0, end=max_epochs)]
default_hooks = dict(progress=dict(label="Slimmable SimSiam"))
custom_hooks = [
    dict(type="mmssl_dynamic.FixedPredictorLrHook"),
    dict(type="mmssl_dynamic.SandwichHook", num_networks=num_networks, warmup_epochs=warmup_epochs),
    dict(type="mmssl_dynamic.DirectionHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=1024, batch_size=128),
]
