_base_ = ["./_base_/mask-rcnn_slimmable-mbv3_fpn_180k_coco.py"]

model = dict(
    backbone=dict(
        subnet="w1.5",
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/networks/backbone_w1.5_mmdet.pth"),
    ),
    neck=dict(in_channels=[40, 64, 168, 1440]),
)
