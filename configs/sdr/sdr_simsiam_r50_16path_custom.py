# SDR with 16 paths on a folder of your own images, one GPU. Each path is a stock ResNet-50: it can start as one, and an
# export of it is one.
#
#   python tools/train.py configs/sdr/sdr_simsiam_r50_16path_custom.py
#
# Time and memory: not measured; it grows with the images. Result: not measured; with fewer than a million images set
# init_from.
_base_ = ["./sdr_simsiam_r50_256path.py"]

data_root = "data/my_images"
clusters_file = "work_dirs/my_clusters.npz"
# The SimSiam that was clustered (work_dirs/simsiam_r50_custom/epoch_200.pth), or any ResNet-50 of torchvision, timm or
# mmpretrain. With fewer than a million images start from one, at a smaller rate: lr 0.0125 after a SimSiam with
# schedule_epochs=400, whose schedule it goes on with, 0.01 after a training that came to its end.
init_from = None
stage_groups = (1, 1, 4, 4)

model = dict(
    init_cfg=dict(init_from=init_from),
    backbone=dict(stage_groups=stage_groups, shared_ratio=3 / 7),  # 448: 192 shared, 4 groups of 64; a path has 256
)
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        stage_groups=stage_groups,
        clusters_file=clusters_file,
        dataset=dict(
            _delete_=True, type="mmssl_dynamic.ImageFolder", data_root=data_root, pipeline={{_base_.train_pipeline}}
        ),
    ),
)
extract_dataloader = dict(
    dataset=dict(
        _delete_=True, type="mmssl_dynamic.ImageFolder", data_root=data_root, pipeline={{_base_.eval_pipeline}}
    ),
)
# 0.05 x 128 / 256; with other batch sizes or more GPUs add --auto-scale-lr
optim_wrapper = dict(optimizer=dict(lr=0.025))
auto_scale_lr = dict(base_batch_size=128)
