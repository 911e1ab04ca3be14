# Slimmable supervised training on Tiny-ImageNet (64 px), five MobileNetV3s, one device, from scratch.
#
#   python tools/train.py configs/dspnet/slimmable-supervised_mobilenet-v3_tinyin.py
#
# From DSPNet's weights, or BYOL's of the widest network:
#
#   python tools/train.py configs/dspnet/slimmable-supervised_mobilenet-v3_tinyin.py --cfg-options \
#       model.backbone.init_cfg.type=Pretrained model.backbone.init_cfg.prefix=backbone. \
#       model.backbone.init_cfg.checkpoint=work_dirs/dspnet_mobilenet-v3_tinyin/epoch_300.pth
#
# Time, memory and result are not measured.
_base_ = [
    "../_base_/models/slimmable_supervised_mobilenet_v3.py",
    "../_base_/datasets/slimmable_supervised_64px.py",
    "../_base_/datasets/resumable_loader.py",
    "../_base_/schedules/slimmable_supervised_sgd_100e.py",
    "../_base_/default_runtime.py",
]

data_root = "data/tiny-imagenet-200/train"
val_root = "data/tiny-imagenet-200/val"
num_classes = 200

model = dict(
    data_preprocessor=dict(num_classes=num_classes),
    backbone=dict(norm_cfg=dict(type="BN")),
    head=dict(num_classes=num_classes),
)
train_dataloader = dict(
    batch_size=256,
    num_workers=4,
    dataset=dict(
        type="mmssl_dynamic.SeededDataset",
        dataset=dict(type="mmssl_dynamic.ImageFolder", data_root=data_root, pipeline={{_base_.train_pipeline}}),
    ),
)
extract_dataloader = dict(
    num_workers=4,
    dataset=dict(type="mmssl_dynamic.ImageFolder", data_root=data_root, pipeline={{_base_.eval_pipeline}}),
)
val_dataloader = dict(
    dataset=dict(type="mmssl_dynamic.ImageFolder", data_root=val_root, pipeline={{_base_.eval_pipeline}}),
)
test_dataloader = val_dataloader
