# DSPNet on ImageNet as in the paper: five MobileNetV3s in one run, 16 processes of 256 images, 300 epochs.
#
#   tools/dist_train.sh configs/dspnet/dspnet_mobilenet-v3_16xb256-coslr-300e_in1k.py 16
#
# Time, memory and result are not measured.
_base_ = [
    "../_base_/models/dspnet_mobilenet_v3.py",
    "../_base_/datasets/byol_views_224px.py",
    "../_base_/datasets/resumable_loader.py",
    "../_base_/schedules/dspnet_lars_300e.py",
    "../_base_/default_runtime.py",
]

data_root = "data/imagenet/"

train_dataloader = dict(
    batch_size=256,
    dataset=dict(
        type="mmssl_dynamic.SeededDataset",
        dataset=dict(type="ImageNet", data_root=data_root, split="train", pipeline={{_base_.train_pipeline}}),
    ),
)
extract_dataloader = dict(
    dataset=dict(type="ImageNet", data_root=data_root, split="train", pipeline={{_base_.eval_pipeline}}),
)
