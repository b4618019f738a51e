"""Photon counts to RGB images in the four representations of the paper, and augmentation."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "augmentation": ["Augmentation", "draw_numbers", "render_augmented", "render_changed"],
        "images": ["colour_index", "colour_table", "render", "to_png", "to_rgb"],
        "network_input": ["brightest", "input_sizes", "table_rendering", "table_resize", "written_out"],
    },
)
