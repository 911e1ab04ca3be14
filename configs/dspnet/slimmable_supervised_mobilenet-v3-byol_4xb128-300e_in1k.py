# The same from BYOL's weights of the widest network ("BYOL+S-Net").
_base_ = ["./slimmable_supervised_mobilenet-v3_4xb128-300e_in1k.py"]

pretrained = "work_dirs/byol_mobilenet-v3-w1.5_16xb256-coslr-300e_in1k/epoch_300.pth"
model = dict(backbone=dict(init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone.")))
