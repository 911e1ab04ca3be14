# SDR on MoCo-v2: two linear layers without norm on top, InfoNCE at temperature 0.2 against 65,536 keys, plus SiamKD.
data_preprocessor = dict(
    type="SelfSupDataPreprocessor",
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)
init_from = None  # weights of a plain network to start from, see FromPlain; None: random ones
queue_len = 65536

model = dict(
    type="mmssl_dynamic.SDRMoCo",
    init_cfg=dict(type="mmssl_dynamic.FromPlain", init_from=init_from),
    data_preprocessor=data_preprocessor,
    queue_len=queue_len,
    backbone=dict(
        type="mmssl_dynamic.SDRResNet",
        depth=50,
        stage_groups=(4, 4, 4, 4),
        norm_cfg=dict(type="BN"),  # keys are shuffled among processes instead (shuffling BN)
        zero_init_residual=False,
    ),
    neck=dict(
        type="mmssl_dynamic.ElasticProjector",  # in_channels follows from the backbone
        hid_channels=2048,
        out_channels=128,
        num_layers=2,
        with_bias=True,
        with_last_bias=True,
        with_last_bn=False,
        with_avg_pool=True,
        norm_cfg=None,
    ),
    head=dict(type="ContrastiveHead", loss=dict(type="CrossEntropyLoss"), temperature=0.2),
    # Our reading: SiamKD at the paper's weight, beside a loss that begins at log(65,537) = 11.
    distillation=dict(type="mmssl_dynamic.SiamKD"),
)
