"""Figures of the workbook: each function takes tables or arrays and returns a Matplotlib Figure, 3.35 or 6.9 in wide.

figure = figure_3(counts, network_input)
save_figure(figure, "results/demo/figures/figure_3")      # .png and .pdf, the same bytes each time
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "architecture": ["figure_2"],
        "augmentation": ["augmentation_figure"],
        "camera": ["brightest_frames", "camera_figure"],
        "classes": ["classes_figure", "convergence_figure", "evolution_figure", "rings_figure"],
        "comparison": ["agreement_figure", "table_4_figure"],
        "curves": ["precision_recall_figure", "training_figure"],
        "distributions": ["label_bias_figure", "photon_histogram", "size_histogram"],
        "geometry": ["figure_1"],
        "house_style": ["save_figure", "save_picture", "style"],
        "online": ["online_rates_figure", "online_scores_figure"],
        "patterns": [
            "by_brightness",
            "detections_figure",
            "figure_3",
            "figure_4",
            "figure_5",
            "gallery",
            "kinds_gallery",
            "scored_gallery",
            "sum_image",
        ],
        "preparation": ["centre_error_figure", "photon_bias_figure", "size_error_figure"],
    },
)
