# The same with MobileNetV3-large at 1/2, 3/4 and all of its width.
#
#   python tools/train.py configs/dspnet/dspnet_mobilenet-v3_custom.py
#
# Time, memory and result are not measured; with fewer than a million images set init_from.
_base_ = ["./dspnet_r50_custom.py"]

model = dict(
    backbone=dict(
        _delete_=True,
        type="mmssl_dynamic.SlimmableMobileNetV3",
        arch="large",
        widths={{_base_.widths}},
        any_width={{_base_.any_width}},
        norm_cfg={{_base_.norm_cfg}},
    ),
)
