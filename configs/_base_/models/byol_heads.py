# Projector and predictor of BYOL: Linear 4096 - BN - ReLU - Linear 256.
model = dict(
    neck=dict(
        type="mmssl_dynamic.ElasticProjector",  # in_channels follows from the backbone
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
