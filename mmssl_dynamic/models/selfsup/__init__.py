"""Self-supervised algorithms over super-networks."""

from mmssl_dynamic.models.selfsup.dspnet import DSPNet
from mmssl_dynamic.models.selfsup.sdr import SDR, Online, batch_subnet, collapse_std
from mmssl_dynamic.models.selfsup.sdr_byol import SDRBYOL
from mmssl_dynamic.models.selfsup.sdr_moco import SDRMoCo
from mmssl_dynamic.models.selfsup.sdr_slimmable import SDRSlimmable, SDRSlimmableBYOL
from mmssl_dynamic.models.selfsup.slimmable import SlimmableSiamese, SlimmableSimSiam
from mmssl_dynamic.models.selfsup.slimmable_distillation import SlimmableDistillation

__all__ = [
    "SDR",
    "SDRBYOL",
    "DSPNet",
    "Online",
    "SDRMoCo",
    "SDRSlimmable",
    "SDRSlimmableBYOL",
    "SlimmableDistillation",
    "SlimmableSiamese",
    "SlimmableSimSiam",
    "batch_subnet",
    "collapse_std",
]
