"""Diagnosis of two networks in files: whole outputs first, then the first tensor that differs, then its layer.

`diagnose_networks` is the whole of `tconv diagnose` for networks. A correct export is never blamed: where the outputs
agree, that is the answer, and a layer is named only if it is given the same numbers as its counterpart.
"""

from __future__ import annotations

from tconv.diagnosis.networks.comparison import diagnose_networks
from tconv.diagnosis.networks.network_report import NetworkDiagnosis
from tconv.diagnosis.networks.side import Source

__all__ = ["NetworkDiagnosis", "Source", "diagnose_networks"]
