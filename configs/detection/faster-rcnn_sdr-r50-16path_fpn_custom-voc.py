# Objects on images of your own, with boxes in VOC's form, by a path of sdr_simsiam_r50_16path_custom.
# Put the path and its export (--format mmdet) here, and your classes: --cfg-options "classes=('cat', 'dog')".
#
#   python tools/train_det.py configs/detection/faster-rcnn_sdr-r50-16path_fpn_custom-voc.py \
#       --cfg-options data_root=data/my_boxes "classes=('cat','dog')"
#
# Time, memory and result are not measured.
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
