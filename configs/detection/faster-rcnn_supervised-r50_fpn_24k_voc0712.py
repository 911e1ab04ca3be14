# Baseline: supervised pre-training, mmdet's ResNet-50 with torchvision's weights (mmengine downloads them).
_base_ = ["./_base_/faster-rcnn_r50_fpn_24k_voc0712.py"]

model = dict(backbone=dict(type="ResNet", init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50")))
