_base_ = ["./_base_/mask-rcnn_slimmable-mbv3_fpn_180k_coco.py"]

model = dict(
    backbone=dict(
        subnet="w1.25",
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/networks/backbone_w1.25_mmdet.pth"),
    ),
    neck=dict(in_channels=[32, 48, 144, 1200]),
)
