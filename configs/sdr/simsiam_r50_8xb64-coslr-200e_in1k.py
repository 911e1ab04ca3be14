# SimSiam on ImageNet: the baseline, and the network whose features are clustered.
#
#   tools/dist_train.sh configs/sdr/simsiam_r50_8xb64-coslr-200e_in1k.py 8
#
# Time and memory: about the 260 GPU hours that the paper has for one path; memory not measured. Result: the paper's
# Table 1 has 72.90 %, a mean of eleven data sets; not measured here.
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
