"""Make the report of a training: one HTML and one PDF file from the evidence."""

from __future__ import annotations

import warnings
from pathlib import Path

from streamproc.models.report.evidence import EVIDENCE_FILE, Evidence

from streamproc.errors import ConfigurationError

__all__ = ["report_again", "write_report"]


def write_report(evidence: Evidence, folder: Path) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.pdf`` into ``folder``.

    Parameters
    ----------
    evidence : Evidence
        What the training found.
    folder : Path
        Made when it is not there; older reports in it are replaced.

    Returns
    -------
    tuple of Path
        The HTML and the PDF file.

    Raises
    ------
    ConfigurationError
        matplotlib is missing.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ConfigurationError("a report needs matplotlib: pip install 'streamproc[train]'") from error
    from streamproc.models.report.html import write_html
    from streamproc.models.report.pdf import write_pdf
    from streamproc.models.report.sections import sections

    folder.mkdir(parents=True, exist_ok=True)
    title = f"Training report of {evidence.facts.name}:{evidence.facts.version}"
    subtitle = "What the training showed, and what it did not."
    parts = sections(evidence)
    page, paper = folder / "report.html", folder / "report.pdf"
    with warnings.catch_warnings():
        # Letters that the figures' font lacks are drawn as boxes; the text of the page has them all the same.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        write_html(title, subtitle, parts, page)
        write_pdf(title, subtitle, parts, paper)
    return page, paper


def report_again(source: Path, folder: Path | None = None) -> tuple[Path, Path]:
    """Write the report of a version folder, or of an evidence file, from the evidence alone.

    Parameters
    ----------
    source : Path
        Folder with ``evidence.npz`` in it, or such a file.
    folder : Path, optional
        Where to write; default: where the evidence is.
    """
    file = source / EVIDENCE_FILE if source.is_dir() else source
    if not file.is_file():
        raise ConfigurationError(
            f"{file}: no such file; a report is made from the {EVIDENCE_FILE} that a training leaves "
            "beside its "
            "model (models trained before reports existed have none: train again)"
        )
    return write_report(Evidence.load(file), folder or file.parent)
