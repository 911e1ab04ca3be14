# DSPNet's MobileNetV3-large at width 1.25, by its export (--format mmdet).
#
#   torchrun --nproc_per_node=8 tools/train_det.py \
#       configs/detection/mask-rcnn_dspnet-mobilenet-v3-w1.25_fpn_180k_coco.py --launcher pytorch
#
# Time, memory and result are not measured.
_base_ = ["./_base_/mask-rcnn_dspnet-mobilenet-v3_fpn_180k_coco.py"]

model = dict(
    backbone=dict(
        subnet="w1.25",
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/networks/backbone_w1.25_mmdet.pth"),
    ),
    neck=dict(in_channels=[32, 48, 144, 1200]),
)
