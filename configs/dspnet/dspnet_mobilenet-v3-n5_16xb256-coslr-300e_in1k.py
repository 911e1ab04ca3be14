# Ablation: 5 networks in every step instead of 4.
_base_ = ["./dspnet_mobilenet-v3_16xb256-coslr-300e_in1k.py"]

custom_hooks = [
    dict(type="mmssl_dynamic.SandwichHook", num_networks=5, warmup_epochs={{_base_.warmup_epochs}}),
    dict(type="mmssl_dynamic.TargetEMAHook", base_momentum=0.004),
    dict(type="mmssl_dynamic.DirectionHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook"),
]
