# Slimmable supervised training on ImageNet from scratch ("Scratch+S-Net" of the appendix), 4 processes of 128 images.
#
#   tools/dist_train.sh configs/dspnet/slimmable-supervised_mobilenet-v3_4xb128-300e_in1k.py 4
#
# Time, memory and result are not measured.
_base_ = [
    "../_base_/models/slimmable_supervised_mobilenet_v3.py",
    "../_base_/datasets/slimmable_supervised_224px.py",
    "../_base_/datasets/resumable_loader.py",
    "../_base_/schedules/slimmable_supervised_rmsprop_300e.py",
    "../_base_/default_runtime.py",
]

data_root = "data/imagenet/"

# timm's --smoothing 0.1, of the labels that the largest network learns.
model = dict(head=dict(loss=dict(_delete_=True, type="LabelSmoothLoss", label_smooth_val=0.1, mode="original")))
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        type="mmssl_dynamic.SeededDataset",
        dataset=dict(type="ImageNet", data_root=data_root, split="train", pipeline={{_base_.train_pipeline}}),
    ),
)
extract_dataloader = dict(
    dataset=dict(type="ImageNet", data_root=data_root, split="train", pipeline={{_base_.eval_pipeline}}),
)
val_dataloader = dict(
    dataset=dict(type="ImageNet", data_root=data_root, split="val", pipeline={{_base_.eval_pipeline}}),
)
test_dataloader = val_dataloader
