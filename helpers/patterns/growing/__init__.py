"""New patterns of a file that is still written, or of files that appear one by one."""
