"""Instrument files: what a diffractometer is, from our own TOML, a GSAS-II ``.instprm`` or a pyFAI ``.poni``.

The formats are described in ``docs/reference/instrument-file.md``.
"""

from __future__ import annotations

from pathlib import Path

from streamproc.models.powder.instrument_gsas import read_instprm
from streamproc.models.powder.instrument_poni import read_poni
from streamproc.models.powder.instrument_toml import read_toml
from streamproc.models.powder.instrument_values import InstrumentFile

from streamproc.errors import ConfigurationError

__all__ = ["InstrumentFile", "read_instrument"]


def read_instrument(path: Path) -> InstrumentFile:
    """Read an instrument file; its name's end says which kind.

    Parameters
    ----------
    path : Path
        ``.toml``, ``.instprm`` or ``.poni``.

    Raises
    ------
    ConfigurationError
        When the file is missing, of another kind, incomplete or impossible; the message names the key.
    """
    path = Path(path)
    readers = {".toml": read_toml, ".instprm": read_instprm, ".poni": read_poni}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigurationError(
            f"{path}: an instrument file ends in {', '.join(readers)}; this one is not known (a .irf or "
            ".prm file must be converted, for example by GSAS-II)"
        )
    if not path.is_file():
        raise ConfigurationError(f"instrument file {path} does not exist")
    return reader(path)
