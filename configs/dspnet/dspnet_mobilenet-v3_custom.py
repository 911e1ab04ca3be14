# The same with MobileNetV3-large at 1/2, 3/4 and all of its width.
_base_ = ["./dspnet_resnet50_custom.py"]

model = dict(
    backbone=dict(
        _delete_=True,
        type="mmssl_dynamic.SlimmableMobileNetV3",
        arch="large",
        widths=(0.5, 0.75, 1.0),
        norm_cfg={{_base_.norm_cfg}},
    ),
)
