# The same with MobileNetV3-large at 1/2, 3/4 and all of its width.
#
#   python tools/train.py configs/dspnet/dspnet_mobilenet-v3_custom.py
#
# Time, memory and result are not measured; with fewer than a million images set init_from.
_base_ = ["./dspnet_r50_custom.py"]

widths = (0.5, 0.75, 1.0)
any_width = False  # US3L: every width between the first and the last is trained, and can be used

model = dict(
    backbone=dict(
        _delete_=True,
        type="mmssl_dynamic.SlimmableMobileNetV3",
        arch="large",
        widths=widths,
        any_width=any_width,
        norm_cfg={{_base_.norm_cfg}},
    ),
)
