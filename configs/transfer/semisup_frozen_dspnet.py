# DSPNet's semi-supervised linear evaluation (Sec. 0.A.3): the linear probe on 1 % or 10 % of the labels, rate 0.02,
# 50 epochs. Our reading: with the probe's BatchNorm (extra_bn), which this evaluation "largely follows".
#
#   python tools/evaluate.py configs/dspnet/dspnet_mobilenet-v3_tinyin.py \
#       work_dirs/dspnet_mobilenet-v3_tinyin/epoch_300.pth --protocol semisup --data-root data/my_task \
#       --out work_dirs/semisup_frozen_dspnet --semisup-mode frozen --label-fraction 0.01
#
# Time and memory: not measured. Result: DSPNet's paper has 47.1 % with 1 % and 59.7 % with 10 % of ImageNet's labels
# for a ResNet-18; not measured here.
_base_ = ["./linear_dspnet.py"]

max_epochs = 50
# One image a line with its label, "train/n01440764/n01440764_10026.JPEG 0"; tools/evaluate.py writes its own.
labels = "data/imagenet/train_1percent.txt"

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type="CustomDataset",
            ann_file=labels,
            data_prefix="data/imagenet/",
            pipeline={{_base_.train_pipeline}},
        )
    )
)
optim_wrapper = dict(optimizer=dict(lr=0.02))
# The rate belongs to a batch of 256 of all processes together; --auto-scale-lr adapts it.
auto_scale_lr = dict(enable=False)
param_scheduler = [
    dict(type="CosineAnnealingLR", T_max=max_epochs, by_epoch=True, begin=0, end=max_epochs, convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=max_epochs)
