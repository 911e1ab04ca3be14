# Projector and predictor of BYOL: Linear 4096 - BN - ReLU - Linear 256.
# Our reading, for backbone and heads of the online network ("student"), and with them the target: statistics of the batches
# of all processes together, as in BYOL, whose settings both papers follow. Momentum2 Teacher, from which DSPNet takes the
# momentum BN of its target, leaves the student each process's own: student_bn="BN".
student_bn = "SyncBN"
norm_cfg = dict(type=student_bn)
head_norm_cfg = dict(type="BN1d" if student_bn == "BN" else student_bn)

model = dict(
    neck=dict(
        type="mmssl_dynamic.ElasticProjector",  # in_channels follows from the backbone
        hid_channels=4096,
        out_channels=256,
        num_layers=2,
        with_bias=True,
        with_last_bn=False,
        with_avg_pool=True,
        norm_cfg=head_norm_cfg,
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
            norm_cfg=head_norm_cfg,
        ),
    ),
)
