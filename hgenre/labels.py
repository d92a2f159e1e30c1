"""The ordered genre list: the only thing that gives integers their meaning."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hgenre.errors import TreeError


@dataclass(frozen=True)
class Labels:
    """An ordered list of unique genre names; position is the genre's index everywhere.

    Raises:
        TreeError: a name is empty or stands twice, or the list is empty.
    """

    genres: tuple[str, ...]

    def __post_init__(self) -> None:
        problems = [f"genre {g!r} stands twice" for g in sorted({g for g in self.genres if self.genres.count(g) > 1})]
        if not self.genres:
            problems.append("the list of genres is empty")
        if any(not g.strip() for g in self.genres):
            problems.append("a genre has an empty name")
        if problems:
            raise TreeError(problems)

    @classmethod
    def from_names(cls, names: Iterable[str]) -> "Labels":
        """The distinct names in alphabetical order."""
        return cls(tuple(sorted(set(names))))

    def index(self, genre: str) -> int:
        """Position of a genre; raises TreeError naming it when it is not in the list."""
        try:
            return self.genres.index(genre)
        except ValueError:
            raise TreeError([f"genre {genre!r} is not among {', '.join(self.genres)}"]) from None

    def __len__(self) -> int:
        return len(self.genres)

    def __iter__(self) -> Iterator[str]:
        return iter(self.genres)
