"""The column types of this part."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Float64", "Int64"]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
