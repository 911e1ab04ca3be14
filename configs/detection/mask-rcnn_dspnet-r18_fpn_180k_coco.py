# A stock ResNet-18 out of the six.
#
#   torchrun --nproc_per_node=8 tools/train_det.py \
#       configs/detection/mask-rcnn_dspnet-r18_fpn_180k_coco.py --launcher pytorch
#
# Time, memory and result are not measured.
_base_ = ["./_base_/mask-rcnn_dspnet-resnet_fpn_180k_coco.py"]

model = dict(
    backbone=dict(
        subnet="w1.0-d2222",
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/networks/backbone_w1.0-d2222_mmdet.pth"),
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
