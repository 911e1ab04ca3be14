# DSPNet on Tiny-ImageNet at 32 px, four narrow ResNets (two widths, two depths): a study that two cores finish.
#
#   python tools/train.py configs/dspnet/dspnet_resnet-narrow_tinyin-32px.py
#
# Time and memory: hours on two cores; memory not measured. Result: not measured.
_base_ = ["../demo/dspnet_demo.py"]

data_root = "data/tiny-imagenet-200/train"
max_epochs = 20
warmup_epochs = 1

model = dict(
    backbone=dict(channels=(0.25, 0.5)),
    neck=dict(out_channels=256),
    head=dict(predictor=dict(in_channels=256, out_channels=256)),
)
train_dataloader = dict(dataset=dict(dataset=dict(data_root=data_root)))
extract_dataloader = dict(dataset=dict(data_root=data_root))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=True, begin=0, end=warmup_epochs, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=warmup_epochs, end=max_epochs, convert_to_iter_based=True),
]
optim_wrapper = dict(optimizer=dict(lr=0.1))
train_cfg = dict(max_epochs=max_epochs)
custom_hooks = [
    dict(type="mmssl_dynamic.SandwichHook", num_networks=3, warmup_epochs=warmup_epochs),
    dict(type="mmssl_dynamic.TargetEMAHook", base_momentum=0.01),
    dict(type="mmssl_dynamic.DirectionHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook"),
]
