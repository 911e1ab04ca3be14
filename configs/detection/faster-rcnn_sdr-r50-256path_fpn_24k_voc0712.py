# SDR: one path of 256, a backbone of 22.7 M weights. Put the task's path and its export (--format mmdet) here.
#
#   torchrun --nproc_per_node=8 tools/train_det.py \
#       configs/detection/faster-rcnn_sdr-r50-256path_fpn_24k_voc0712.py --launcher pytorch
#
# Time and memory: not measured. Result: the paper's Table 2, whose protocol mixes two, has AP 55.65; not measured here.
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
