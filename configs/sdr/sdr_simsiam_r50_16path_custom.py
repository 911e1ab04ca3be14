# SDR with 16 paths on a folder of your own images, one GPU.
_base_ = ["./sdr_simsiam_r50_256path.py"]

data_root = "data/my_images"
clusters_file = "work_dirs/my_clusters.npz"
stage_groups = (1, 1, 4, 4)

model = dict(backbone=dict(stage_groups=stage_groups))
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
