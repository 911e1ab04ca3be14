# Baseline: supervised pre-training, mmdet's ResNet-50 with torchvision's weights (mmengine downloads them).
#
#   torchrun --nproc_per_node=8 tools/train_det.py \
#       configs/detection/faster-rcnn_supervised-r50_fpn_24k_voc0712.py --launcher pytorch
#
# Time and memory: not measured. Result: the paper's Table 2, whose protocol mixes two, has AP 53.26; not measured here.
_base_ = ["./_base_/faster-rcnn_r50_fpn_24k_voc0712.py"]

model = dict(backbone=dict(type="ResNet", init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50")))
