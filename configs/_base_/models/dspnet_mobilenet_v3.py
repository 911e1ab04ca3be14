# DSPNet with five MobileNetV3s: projector and predictor of BYOL (Linear 4096 - BN - ReLU - Linear 256).
data_preprocessor = dict(
    type="SelfSupDataPreprocessor",
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)
model = dict(
    type="mmssl_dynamic.DSPNet",
    data_preprocessor=data_preprocessor,
    target_bn="momentum",
    backbone=dict(
        type="mmssl_dynamic.SlimmableMobileNetV3",
        arch="large",
        widths=(0.5, 0.75, 1.0, 1.25, 1.5),
        norm_cfg=dict(type="SyncBN"),
    ),
    neck=dict(
        type="mmssl_dynamic.ElasticProjector",
        hid_channels=4096,
        out_channels=256,
        num_layers=2,
        with_bias=True,
        with_last_bn=False,
        with_avg_pool=True,
        norm_cfg=dict(type="SyncBN"),
    ),
    head=dict(
        type="LatentPredictHead",
        # 2 - 2 cos, after the factor 2 of the algorithm
        loss=dict(type="CosineSimilarityLoss", shift_factor=1.0),
        predictor=dict(
            type="NonLinearNeck",
            in_channels=256,
            hid_channels=4096,
            out_channels=256,
            num_layers=2,
            with_bias=True,
            with_last_bn=False,
            with_avg_pool=False,
            norm_cfg=dict(type="SyncBN"),
        ),
    ),
)
# Gradients are averaged once per step, and not once per network.
model_wrapper_cfg = dict(type="mmssl_dynamic.SandwichDataParallel")
