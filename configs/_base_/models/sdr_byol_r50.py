# SDR on BYOL: BYOL's heads over a super-network, whose moving average is the target, plus SiamKD towards its full one.
_base_ = ["./sdr_simsiam_r50.py"]

model = dict(
    type="mmssl_dynamic.SDRBYOL",
    neck=dict(
        _delete_=True,
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
        _delete_=True,
        type="LatentPredictHead",
        loss=dict(type="CosineSimilarityLoss", shift_factor=1.0),  # 2 - 2 cos, after the factor 2 of the algorithm
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
    distillation=dict(type="mmssl_dynamic.SiamKD", weight=4.0),  # BYOL's loss is four times SimSiam's
)
