"""Families of models: settings, plan, both trainers, the files of a trained family, and scoring."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "darknet_networks": ["load_network"],
        "detected_boxes": ["detected_boxes"],
        "families": ["table_families", "train_families"],
        "family_folder": ["FamilyFolder"],
        "plan": ["Examples", "Plan"],
        "scoring": ["Scorer", "patterns_a_batch", "score_counts"],
        "settings": ["TrainingSettings"],
        "ultralytics_networks": ["is_ultralytics", "load_ultralytics"],
    },
)
