# Five MobileNetV3s with one elastic linear layer on top; BatchNorm is calibrated before every validation.
num_classes = 1000
data_preprocessor = dict(
    type="ClsDataPreprocessor",
    num_classes=num_classes,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)
model = dict(
    type="mmssl_dynamic.SlimmableImageClassifier",
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type="mmssl_dynamic.SlimmableMobileNetV3",
        arch="large",
        widths=(0.5, 0.75, 1.0, 1.25, 1.5),
        norm_cfg=dict(type="SyncBN"),
    ),
    head=dict(type="mmssl_dynamic.ElasticLinearHead", num_classes=num_classes, loss=dict(type="CrossEntropyLoss")),
)
# Gradients are averaged once per step, and not once per network.
model_wrapper_cfg = dict(type="mmssl_dynamic.SandwichDataParallel")
