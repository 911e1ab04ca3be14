# DSPNet's MobileNetV3-large at width 0.5, by its export (--format mmdet).
#
#   torchrun --nproc_per_node=8 tools/train_det.py \
#       configs/detection/mask-rcnn_dspnet-mobilenet-v3-w0.5_fpn_180k_coco.py --launcher pytorch
#
# Time, memory and result are not measured.
_base_ = ["./_base_/mask-rcnn_dspnet-mobilenet-v3_fpn_180k_coco.py"]

model = dict(
    backbone=dict(
        subnet="w0.5",
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/networks/backbone_w0.5_mmdet.pth"),
    ),
    neck=dict(in_channels=[16, 24, 56, 480]),
)
