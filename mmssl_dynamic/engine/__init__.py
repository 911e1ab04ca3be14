"""Training: runner, hooks and optimiser wrappers."""

from mmssl_dynamic.engine.hooks import (
    BNBankHook,
    CalibrateBNHook,
    CollapseMonitorHook,
    FixedPredictorLrHook,
    ProgressivePhaseHook,
    ResumeSamplerHook,
    SandwichHook,
    TargetEMAHook,
)
from mmssl_dynamic.engine.iter_loop import IterLoop
from mmssl_dynamic.engine.runner import Runner
from mmssl_dynamic.engine.sandwich_data_parallel import SandwichDataParallel
from mmssl_dynamic.engine.subnet_optim_wrapper import SubnetAmpOptimWrapper, SubnetOptimWrapper

__all__ = [
    "BNBankHook",
    "CalibrateBNHook",
    "CollapseMonitorHook",
    "FixedPredictorLrHook",
    "IterLoop",
    "ProgressivePhaseHook",
    "ResumeSamplerHook",
    "Runner",
    "SandwichDataParallel",
    "SandwichHook",
    "SubnetAmpOptimWrapper",
    "SubnetOptimWrapper",
    "TargetEMAHook",
]
