"""Safe reading and writing of HDF5 files."""
