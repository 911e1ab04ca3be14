# DSPNet's semi-supervised fine-tuning (Sec. 0.A.3): 1 % or 10 % of the labels, rates 0.001 (backbone) and 0.02 (head).
# Epochs and steps are SwAV's, which the paper follows for the rates. On several GPUs the backbone's BatchNorm normalises
# the images of each by themselves.
#
#   python tools/evaluate.py configs/dspnet/dspnet_mobilenet-v3_tinyin.py \
#       work_dirs/dspnet_mobilenet-v3_tinyin/epoch_300.pth --protocol semisup --data-root data/my_task \
#       --out work_dirs/semisup_finetune_dspnet --label-fraction 0.01
#
# Time and memory: not measured. Result: DSPNet's paper has 49.2 % with 1 % and 62.5 % with 10 % of ImageNet's labels
# for a ResNet-18; not measured here.
_base_ = ["./_base_/classification.py"]

max_epochs = 20
backbone_lr = 0.001
head_lr = 0.02
# One image a line with its label, "train/n01440764/n01440764_10026.JPEG 0"; tools/evaluate.py writes its own.
labels = "data/imagenet/train_1percent.txt"

# Our reading: the classifier of the linear probe, with its BatchNorm on top. The paper says nothing of it here.
extra_bn = True
norm_cfg = dict(type="mmssl_dynamic.SyncBN")
model = dict(
    backbone=dict(frozen_stages=-1),
    head=dict(type="mmssl_dynamic.LinearBNHead", norm_cfg=norm_cfg) if extra_bn else dict(type="LinearClsHead"),
)
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
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=head_lr, momentum=0.9, weight_decay=0.0),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=backbone_lr / head_lr)}),
)
# The rates belong to a batch of 256 of all processes together; --auto-scale-lr adapts them.
auto_scale_lr = dict(enable=False, base_batch_size=256)
param_scheduler = [dict(type="MultiStepLR", milestones=[12, 16], gamma=0.2, by_epoch=True)]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=5)
