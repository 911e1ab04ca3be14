# SDR: one path of 256, a backbone of 22.7 M weights. Put the task's path and its export (--format mmdet) here.
_base_ = ["./_base_/faster-rcnn_r50_fpn_24k_voc0712.py"]

model = dict(
    backbone=dict(
        type="mmssl_dynamic.SDRResNet",
        stage_groups=(4, 4, 4, 4),
        subnet="0-0-0-0",
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/networks/backbone_0-0-0-0_mmdet.pth"),
    ),
    neck=dict(in_channels=[240, 480, 960, 2080]),  # the same for every path
)
