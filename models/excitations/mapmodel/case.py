"""A model of maps as everything that fits, trains and publishes sees it, whatever its physics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from streamproc.models.excitations.mapmodel.parameters import Parameters
from streamproc.models.excitations.mapmodel.tables import DerivedTable, MapFile

__all__ = ["MapCase", "Words"]


@dataclass(frozen=True, slots=True)
class Words:
    """How a kind of model is spoken of.

    Attributes
    ----------
    task : str
        Of the card: what the network reads.
    signal : str
        What is seen ("magnons").
    one, many : str
        A parameter, several of them ("coupling", "couplings").
    units : str
        Of the parameters.
    prefix : str
        What stands before a parameter's name in every data key.
    heading : str
        Under which `streamproc predict` prints the parameters.
    unstable : str
        What is said where no start of a fit has a model.
    too_little : str
        What is said where no fit can be made.
    foreign : str
        Maps of something else, as the report names them.
    cannot : tuple of str
        What the model cannot say.
    """

    task: str
    signal: str
    one: str
    many: str
    units: str
    prefix: str
    heading: str
    unstable: str
    too_little: str
    foreign: str
    cannot: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class MapCase(ABC):
    """What a fit needs to know of a `model.toml`.

    Attributes
    ----------
    file : MapFile
        As written.
    parameters : Parameters
        Free, fixed and tied ones.
    """

    file: MapFile = field(repr=False)
    parameters: Parameters

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.file.name

    @property
    def derived(self) -> tuple[DerivedTable, ...]:
        """Energies that are published beside the parameters."""
        return self.file.derived

    @property
    def powder(self) -> bool:
        """Whether the sample is a powder."""
        return self.file.q.powder is not None

    @property
    def energy_unit(self) -> str:
        """Unit of the model's energies: meV, or the end of the measured window."""
        return "window" if self.file.energy.scale_free else "meV"

    @property
    def background(self) -> int:
        """How many smooth functions of energy the background of a fit has."""
        return 7

    @property
    def background_q(self) -> bool:
        """Whether part of the background grows with Q^2."""
        return False

    @property
    def background_falls(self) -> bool:
        """Whether it is made of what falls off above the elastic line, instead of splines."""
        return False

    @property
    def edges_tell(self) -> bool:
        """Whether a fit whose scale of energies ends at the edge of the search is of something else."""
        return False

    @property
    def missed(self) -> float:
        """Reduced chi-square above which no map is this model's, whatever limit a training found."""
        return float("inf")

    @property
    def left_over(self) -> float:
        """Share of the structure above which a fit leaves too much over, whatever limit a training found."""
        return 1.0

    @property
    def normal_where_told(self) -> bool:
        """Whether a fit that meets its map and tells every parameter needs no rivals, and no draws.

        That is so where one answer fits, and chi-square is seen to be a parabola around it.
        """
        return False

    @property
    def fitted_widths(self) -> tuple[str, ...]:
        """Widths that are fitted beside the parameters."""
        return ("energy_fwhm", "end_fwhm", "q_fwhm")

    def key_of(self, name: str) -> str:
        """Return the data key of a parameter."""
        return self.words.prefix + name

    @property
    @abstractmethod
    def words(self) -> Words:
        """How it is spoken of."""

    @property
    @abstractmethod
    def convention(self) -> str:
        """What the parameters mean, in a sentence."""

    @property
    @abstractmethod
    def assumed(self) -> dict[str, str]:
        """What is taken for known, by name (spins; lattice and masses), as a card and a result say it."""

    @abstractmethod
    def meaning(self, name: str) -> str:
        """Return what a parameter is, as its data key's description says it."""
