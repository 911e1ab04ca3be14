_base_ = ["./_base_/mask-rcnn_slimmable-mbv3_fpn_180k_coco.py"]

model = dict(
    backbone=dict(
        subnet="w0.75",
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/networks/backbone_w0.75_mmdet.pth"),
    ),
    neck=dict(in_channels=[24, 32, 88, 720]),
)
