# The same from BYOL's weights of the widest network ("BYOL+S-Net"): of the config byol_mobilenet-v3_* with width=1.5.
#
#   tools/dist_train.sh configs/dspnet/slimmable-supervised_mobilenet-v3-byol_4xb128-300e_in1k.py 4
#
# Time, memory and result are not measured.
_base_ = ["./slimmable-supervised_mobilenet-v3_4xb128-300e_in1k.py"]

pretrained = "work_dirs/byol_mobilenet-v3_16xb256-coslr-300e_in1k/epoch_300.pth"
model = dict(backbone=dict(init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone.")))
