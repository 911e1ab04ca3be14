"""Training: runner, hooks and optimiser wrappers."""

from mmssl_dynamic.engine.bf16_optim_wrapper import Bf16OptimWrapper
from mmssl_dynamic.engine.hooks import (
    BNBankHook,
    CalibrateBNHook,
    CheckpointHook,
    CollapseMonitorHook,
    DirectionHook,
    FiniteLossHook,
    FixedPredictorLrHook,
    GroupRegularizationHook,
    ProgressivePhaseHook,
    ResumeSamplerHook,
    SandwichHook,
    TargetEMAHook,
)
from mmssl_dynamic.engine.iter_loop import IterLoop
from mmssl_dynamic.engine.local_files import LocalVisBackend
from mmssl_dynamic.engine.runner import Runner
from mmssl_dynamic.engine.sandwich_data_parallel import SandwichDataParallel
from mmssl_dynamic.engine.subnet_optim_wrapper import (
    SubnetAmpOptimWrapper,
    SubnetBf16OptimWrapper,
    SubnetOptimWrapper,
)

__all__ = [
    "BNBankHook",
    "Bf16OptimWrapper",
    "CalibrateBNHook",
    "CheckpointHook",
    "CollapseMonitorHook",
    "DirectionHook",
    "FiniteLossHook",
    "FixedPredictorLrHook",
    "GroupRegularizationHook",
    "IterLoop",
    "LocalVisBackend",
    "ProgressivePhaseHook",
    "ResumeSamplerHook",
    "Runner",
    "SandwichDataParallel",
    "SandwichHook",
    "SubnetAmpOptimWrapper",
    "SubnetBf16OptimWrapper",
    "SubnetOptimWrapper",
    "TargetEMAHook",
]
