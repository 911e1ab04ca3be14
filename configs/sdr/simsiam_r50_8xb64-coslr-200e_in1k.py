# SimSiam on ImageNet: the baseline, and the network whose features are clustered.
_base_ = [
    "../_base_/models/simsiam_r50.py",
    "../_base_/datasets/mocov2_views_224px.py",
    "../_base_/datasets/resumable_loader.py",
    "../_base_/schedules/simsiam_sgd_200e.py",
    "../_base_/default_runtime.py",
]

data_root = "data/imagenet/"

train_dataloader = dict(
    batch_size=64,
    dataset=dict(
        type="mmssl_dynamic.SeededDataset",
        dataset=dict(type="ImageNet", data_root=data_root, split="train", pipeline={{_base_.train_pipeline}}),
    ),
)
extract_dataloader = dict(
    dataset=dict(type="ImageNet", data_root=data_root, split="train", pipeline={{_base_.eval_pipeline}}),
)
