"""Batches of an experiment's own processing (Arsenal): `batch_N_pattern`, and beside it `batch_N_index`."""

from helpers.patterns.hdf5.entry import Entry, numbered
from helpers.patterns.layouts.base import Layout
from helpers.patterns.layouts.columns import ColumnGroup


class Batches(Layout):
    """A batch of patterns at the root of a file; its columns have its number in their names."""

    name = "batches"
    event_id_names = ("index",)

    @classmethod
    def detect(cls, entry: Entry) -> list[Layout]:
        """All batches by number."""
        names = numbered(entry.names_at(""), "batch", "_pattern")
        return [cls(entry, name) for name in names if entry.dataset("", name) is not None]

    def column_groups(self, stacks: list[Layout]) -> list[ColumnGroup]:
        """The names at the root that begin as that of the batch."""
        stem = self.path.removesuffix("pattern")
        return [ColumnGroup(self.entry, "", "", self.rows_among([self]), links=True, stem=stem)]
