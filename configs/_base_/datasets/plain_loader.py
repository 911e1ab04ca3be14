# Loader of a single network: all images, shuffled.
train_dataloader = dict(
    num_workers=8,
    drop_last=True,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    collate_fn=dict(type="default_collate"),
)
extract_dataloader = dict(batch_size=256, num_workers=8)
