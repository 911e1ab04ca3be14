"""BatchNorm statistics of sub-networks: pooled exactly, and kept in a bank."""

from mmssl_dynamic.calibration.bn_bank import BNBank
from mmssl_dynamic.calibration.calibrate import calibrate_bank, calibrate_path, calibrate_prefixes
from mmssl_dynamic.calibration.moments import pooled_statistics
from mmssl_dynamic.calibration.plan import CalibrationPlan
from mmssl_dynamic.calibration.sample import CalibrationImages

__all__ = [
    "BNBank",
    "CalibrationImages",
    "CalibrationPlan",
    "calibrate_bank",
    "calibrate_path",
    "calibrate_prefixes",
    "pooled_statistics",
]
