from .dense import dense_crf, label_energies
from .parameters import DSM_CRF, PRIMAPS_CRF, CRFParameters

__all__ = ["DSM_CRF", "PRIMAPS_CRF", "CRFParameters", "dense_crf", "label_energies"]
