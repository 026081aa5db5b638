"""The whole numbers in the .mat files that come with data sets."""

import zlib
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from pipeline.errors import ConfigError, DecodeError
from pipeline.types import IntArray

_DAMAGED = (MatReadError, zlib.error, OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError)


def read_matrix(path: Path, key: str) -> IntArray:
    """(R, C) int64, the matrix of that name in a MATLAB file (up to version 7.2).

    Raises:
        ConfigError: there is no such file. DecodeError: it cannot be read, or does not hold whole numbers there.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; it belongs to the data set (docs/datasets.md)")
    try:
        found = loadmat(path, variable_names=[key])
    except NotImplementedError:
        raise DecodeError(f"{path}: is a MATLAB 7.3 file; save it with -v7") from None
    except _DAMAGED as error:
        raise DecodeError(f"{path}: is damaged or not a MATLAB file ({error}); unpack it again") from None
    if key not in found:
        raise DecodeError(f"{path}: expected a matrix {key}, which it does not hold; is it the right file?")
    values = np.asarray(found[key])
    if values.ndim != 2 or values.dtype.kind not in "uif" or not (values == np.round(values)).all():
        raise DecodeError(f"{path}: {key}: expected a matrix of whole numbers, got {values.dtype} {values.shape}")
    return values.astype(np.int64)
