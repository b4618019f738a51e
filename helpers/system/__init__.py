"""Atomic files, locks, processes, progress, tensors on disk, and the fingerprint of code: what every program needs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "code_fingerprint": ["PACKAGE", "code_digest", "modules_of", "source_digest", "text_digest"],
        "device": ["pick_device"],
        "files": [
            "delete_leftovers",
            "explained",
            "partial_beside",
            "read_exact_csv",
            "sha256",
            "write_csv",
            "write_text",
            "written_whole",
        ],
        "lock": ["locked"],
        "processes": ["cores", "end_with_parent", "one_thread_processes"],
        "progress_lines": ["SPARSE", "is_sparse", "progress"],
        "reading_ahead": ["read_ahead"],
        "stale_folders": ["claim_folder"],
        "stored_results": ["STORED_ONLY", "begin_long_computation"],
        "table_programs": ["flags", "numbers", "read_any_csv", "without_zero_decimals"],
        "tables_and_json": ["Kind", "check_columns", "in_short", "printable", "read_csv", "read_json"],
        "tensor_files": ["check_finite", "load_tensors", "save_tensors"],
        "validation": ["STRICT", "validated"],
        "yaml_files": ["read_yaml"],
    },
)
