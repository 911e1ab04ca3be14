# DSPNet's MobileNetV3-large, one width of five. What inherits from here names the width, its export and its channels.
# The individually pre-trained networks (byol_mobilenet-v3_*) take its place by their checkpoint alone.
_base_ = ["./mask-rcnn_fpn_180k_coco.py"]

model = dict(
    backbone=dict(
        type="mmssl_dynamic.SlimmableMobileNetV3",
        arch="large",
        widths=(0.5, 0.75, 1.0, 1.25, 1.5),
        out_indices=(3, 6, 12, 16),  # the last outputs of strides 4, 8, 16 and 32
    ),
)
