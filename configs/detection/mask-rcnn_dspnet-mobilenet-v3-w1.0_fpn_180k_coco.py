# DSPNet's MobileNetV3-large at width 1.0, by its export (--format mmdet).
#
#   torchrun --nproc_per_node=8 tools/train_det.py \
#       configs/detection/mask-rcnn_dspnet-mobilenet-v3-w1.0_fpn_180k_coco.py --launcher pytorch
#
# Time, memory and result are not measured.
_base_ = ["./_base_/mask-rcnn_dspnet-mobilenet-v3_fpn_180k_coco.py"]

model = dict(
    backbone=dict(
        subnet="w1.0",
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/networks/backbone_w1.0_mmdet.pth"),
    ),
    neck=dict(in_channels=[24, 40, 112, 960]),
)
