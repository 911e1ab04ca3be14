# Baseline: SimSiam with a stock ResNet-50, weights as its training wrote them.
#
#   torchrun --nproc_per_node=8 tools/train_det.py \
#       configs/detection/faster-rcnn_simsiam-r50_fpn_24k_voc0712.py --launcher pytorch
#
# Time and memory: not measured. Result: the paper's Table 2, whose protocol mixes two, has AP 54.17; not measured here.
_base_ = ["./_base_/faster-rcnn_r50_fpn_24k_voc0712.py"]

model = dict(
    backbone=dict(
        type="mmssl_dynamic.StaticResNet",
        init_cfg=dict(
            type="Pretrained",
            checkpoint="work_dirs/simsiam_r50_8xb64-coslr-200e_in1k/epoch_200.pth",
            prefix="backbone.",
        ),
    ),
)
