# SDR Sec. 3 at small scale: SimSiam on Subset-A; tools/data/split_imagenet.py writes the list.
#
#   python tools/train.py configs/sdr/small_scale/simsiam_r18-narrow_subset-a.py
#
# Time and memory: about half an hour on one core for 1,560 steps, as in the study; memory not measured. Result: see
# docs/studies/sdr_small_scale.md.
_base_ = ["./simsiam_r18-narrow.py"]

ann_file = "meta/subset_a.txt"

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type="CustomDataset",
            data_root={{_base_.data_root}},
            ann_file=ann_file,
            pipeline={{_base_.train_pipeline}},
        ),
    ),
)
extract_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="CustomDataset",
        data_root={{_base_.data_root}},
        ann_file=ann_file,
        pipeline={{_base_.eval_pipeline}},
    ),
)
