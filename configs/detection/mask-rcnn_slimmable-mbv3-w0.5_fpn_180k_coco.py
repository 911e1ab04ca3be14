_base_ = ["./_base_/mask-rcnn_slimmable-mbv3_fpn_180k_coco.py"]

model = dict(
    backbone=dict(
        subnet="w0.5",
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/networks/backbone_w0.5_mmdet.pth"),
    ),
    neck=dict(in_channels=[16, 24, 56, 480]),
)
