# DSPNet's ResNets, one of six. What inherits from here names the network, its export and its channels.
# The individually pre-trained ones (byol_resnet18) take its place by their checkpoint alone.
_base_ = ["./mask-rcnn_fpn_180k_coco.py"]

model = dict(
    backbone=dict(
        type="mmssl_dynamic.SlimmableResNet",
        block="basic",
        channels=(1.0, 1.25),
        blocks=((2, 2, 2, 2), (3, 3, 4, 3), (3, 4, 6, 3)),
        out_indices=(0, 1, 2, 3),
    ),
)
