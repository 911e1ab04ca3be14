# Objects on images of your own, with boxes in VOC's form, by a path of sdr_simsiam_r50_16path_custom.
# Put the path and its export (--format mmdet) here, and your classes: --cfg-options "classes=('cat', 'dog')".
_base_ = ["./_base_/custom_voc.py"]

model = dict(
    backbone=dict(
        type="mmssl_dynamic.SDRResNet",
        stage_groups=(1, 1, 4, 4),
        shared_ratio=3 / 7,
        subnet="0-0-0-0",
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/networks/backbone_0-0-0-0_mmdet.pth"),
    ),
    neck=dict(in_channels=[256, 512, 1024, 2048]),  # the same for every path
)
