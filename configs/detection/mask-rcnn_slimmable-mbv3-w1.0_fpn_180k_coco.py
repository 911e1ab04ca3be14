_base_ = ["./_base_/mask-rcnn_slimmable-mbv3_fpn_180k_coco.py"]

model = dict(
    backbone=dict(
        subnet="w1.0",
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/networks/backbone_w1.0_mmdet.pth"),
    ),
    neck=dict(in_channels=[24, 40, 112, 960]),
)
