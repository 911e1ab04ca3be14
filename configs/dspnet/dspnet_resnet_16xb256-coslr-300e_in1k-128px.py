# DSPNet over six ResNets at 128 px: ResNet-18 is the smallest, ResNet-34 at 1.25 times its width the largest.
#
#   tools/dist_train.sh configs/dspnet/dspnet_resnet_16xb256-coslr-300e_in1k-128px.py 16
#
# Time and memory: not measured. Result: the paper has 56.1 % by kNN and 65.9 % by a linear probe for the ResNet-18
# among them; not measured here.
_base_ = [
    "../_base_/models/dspnet_mobilenet_v3.py",
    "../_base_/datasets/byol_views_128px.py",
    "../_base_/datasets/resumable_loader.py",
    "../_base_/schedules/dspnet_lars_300e.py",
    "../_base_/default_runtime.py",
]

data_root = "data/imagenet/"
widths = (1.0, 1.25)

model = dict(
    backbone=dict(
        _delete_=True,
        type="mmssl_dynamic.SlimmableResNet",
        block="basic",
        channels=widths,
        any_width={{_base_.any_width}},
        blocks=((2, 2, 2, 2), (3, 3, 4, 3), (3, 4, 6, 3)),
        zero_init_residual=False,
        norm_cfg={{_base_.norm_cfg}},
    ),
)
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
