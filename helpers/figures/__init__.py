"""The figures of the workbook: each function takes tables or arrays and returns a Matplotlib Figure.

figure = figure_3(counts, network_input)
save_figure(figure, "results/demo/figures/figure_3")      # .png and .pdf, the same bytes each time
"""

from helpers.figures.architecture import figure_2
from helpers.figures.camera import camera_figure
from helpers.figures.classes import (
    classes_figure,
    convergence_figure,
    evolution_figure,
    growth_figure,
    rings_figure,
)
from helpers.figures.comparison import agreement_figure, table_4_figure
from helpers.figures.curves import precision_recall_figure, training_figure
from helpers.figures.distributions import label_bias_figure, photon_histogram, size_histogram
from helpers.figures.geometry import figure_1
from helpers.figures.online import online_rates_figure, online_scores_figure
from helpers.figures.patterns import detections_figure, figure_3, figure_4, figure_5, gallery, sum_image
from helpers.figures.preparation import (
    centre_error_figure,
    photon_bias_figure,
    radial_profile_figure,
    size_error_figure,
)
from helpers.figures.style import family_colour, family_dashes, save_figure, save_picture, style

__all__ = [
    "agreement_figure",
    "camera_figure",
    "centre_error_figure",
    "classes_figure",
    "convergence_figure",
    "detections_figure",
    "evolution_figure",
    "family_colour",
    "family_dashes",
    "figure_1",
    "figure_2",
    "figure_3",
    "figure_4",
    "figure_5",
    "gallery",
    "growth_figure",
    "label_bias_figure",
    "online_rates_figure",
    "online_scores_figure",
    "photon_bias_figure",
    "photon_histogram",
    "precision_recall_figure",
    "radial_profile_figure",
    "rings_figure",
    "save_figure",
    "save_picture",
    "size_error_figure",
    "size_histogram",
    "style",
    "sum_image",
    "table_4_figure",
    "training_figure",
]
