# Slimmable supervised training on ImageNet from scratch ("Scratch+S-Net" of the appendix), 4 processes of 128 images.
_base_ = [
    "../_base_/models/slimmable_supervised_mobilenet_v3.py",
    "../_base_/datasets/slimmable_supervised_224px.py",
    "../_base_/datasets/plain_loader.py",
    "../_base_/schedules/slimmable_supervised_rmsprop_300e.py",
    "../_base_/default_runtime.py",
]

data_root = "data/imagenet/"

train_dataloader = dict(
    batch_size=128,
    dataset=dict(type="ImageNet", data_root=data_root, split="train", pipeline={{_base_.train_pipeline}}),
)
extract_dataloader = dict(
    dataset=dict(type="ImageNet", data_root=data_root, split="train", pipeline={{_base_.eval_pipeline}}),
)
val_dataloader = dict(
    dataset=dict(type="ImageNet", data_root=data_root, split="val", pipeline={{_base_.eval_pipeline}}),
)
test_dataloader = val_dataloader
