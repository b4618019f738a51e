"""Annotation: labels and their consistency, the shared bounding box, the sets of Table 1, and the labelling widget."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "agreement": ["judgements", "labels_in", "table_consistency"],
        "box": ["Box", "held_share", "propose_box", "read_box", "sum_patterns", "table_box", "write_box"],
        "darknet_export": ["export_darknet", "label_line"],
        "labels": ["kinds_of", "labels_of", "read_labels"],
        "labels_file": ["LabelsFile", "NOT_SINGLE", "SINGLE"],
        "queue": ["in_order", "with_repeats"],
        "sets": ["SetSizes", "beside_published", "split", "table_1"],
        "widget": ["annotate"],
    },
)
