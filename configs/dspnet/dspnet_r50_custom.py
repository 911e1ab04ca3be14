# DSPNet on a folder of your own images, one GPU: ResNet-50 at 1/2, 3/4 and all of its width.
#
#   python tools/train.py configs/dspnet/dspnet_r50_custom.py
#
# Time, memory and result are not measured; with fewer than a million images set init_from.
_base_ = [
    "../_base_/models/dspnet_mobilenet_v3.py",
    "../_base_/datasets/byol_views_224px.py",
    "../_base_/datasets/resumable_loader.py",
    "../_base_/schedules/dspnet_lars_300e.py",
    "../_base_/default_runtime.py",
]

data_root = "data/my_images"
# A BYOL or SimSiam run, or any ResNet-50 of torchvision, timm or mmpretrain: the largest network starts as it, and the
# narrower ones as its most important channels.
init_from = None
widths = (0.5, 0.75, 1.0)

model = dict(
    init_cfg=dict(init_from=init_from),
    backbone=dict(
        _delete_=True,
        type="mmssl_dynamic.SlimmableResNet",
        block="bottleneck",
        channels=widths,
        any_width={{_base_.any_width}},
        blocks=((3, 4, 6, 3),),
        norm_cfg={{_base_.norm_cfg}},
    ),
)
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        type="mmssl_dynamic.SeededDataset",
        dataset=dict(type="mmssl_dynamic.ImageFolder", data_root=data_root, pipeline={{_base_.train_pipeline}}),
    ),
)
extract_dataloader = dict(
    dataset=dict(type="mmssl_dynamic.ImageFolder", data_root=data_root, pipeline={{_base_.eval_pipeline}}),
)
# SGD: LARS is for batches of thousands.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="SGD", lr=0.05, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(_delete_=True, norm_decay_mult=0.0, bias_decay_mult=0.0),
)
auto_scale_lr = dict(base_batch_size=128)
