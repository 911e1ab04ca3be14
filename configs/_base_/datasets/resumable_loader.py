# Loader of a network that trains on all images: shuffled, and resumed inside an epoch where it stopped.
train_dataloader = dict(
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    batch_sampler=dict(type="mmssl_dynamic.ResumableBatchSampler"),
    collate_fn=dict(type="default_collate"),
)
extract_dataloader = dict(batch_size=256, num_workers=8)
