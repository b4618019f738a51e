"""Errors that a user can act on: each names the file, the dataset or value, and the next step.

The command line prints the message of a `WorkbookError` on one line and ends with code 2;
any other exception is a bug of ours.
"""


class WorkbookError(Exception):
    """Something outside the code is wrong: a file, a parameter, a missing step."""


class PatternFileError(WorkbookError, ValueError):
    """A pattern file has no readable patterns, or values that cannot be photon counts."""


class BrokenLinkError(PatternFileError):
    """A link within a pattern file leads nowhere."""


class LabelsError(WorkbookError, ValueError):
    """Labels do not fit the patterns, or are too few for the sets that were asked for."""


class BoxError(WorkbookError, ValueError):
    """A bounding box is empty or lies outside the pattern."""


class ClassChoiceError(WorkbookError, ValueError):
    """A choice of EM classes names classes that there are not, or belongs to other runs."""


class NetworkFileError(WorkbookError, ValueError):
    """A Darknet `.cfg` or `.weights` file, or a checkpoint, does not fit the network."""


class ProfileError(WorkbookError, ValueError):
    """A profile holds an unknown key or an impossible value."""


class RunFileError(WorkbookError, ValueError):
    """A file that a run has left is damaged, or was changed by hand into something else."""


class MissingStepError(WorkbookError, LookupError):
    """A step needs the artefacts of an earlier one that has not run."""


class StaleResultError(WorkbookError, RuntimeError):
    """A stored result belongs to other settings, patterns or code, and may not be computed anew."""


class StorageError(WorkbookError, OSError):
    """A file cannot be written: the disk is full, or the folder cannot be written to."""


class LockedError(WorkbookError, RuntimeError):
    """Another process works in the same folder, or on the same file."""


class WorkerDiedError(WorkbookError, RuntimeError):
    """A worker process was killed."""


class TrainingDivergedError(WorkbookError, ArithmeticError):
    """The training loss is no longer a number."""


class DownloadError(WorkbookError, OSError):
    """A published file cannot be fetched: no network, or not what the server should give."""


class FetchedFileError(WorkbookError, ValueError):
    """A file that was fetched, or downloaded by hand, is not the published one."""


class ClusterError(WorkbookError, RuntimeError):
    """There is no cluster to compute on, or it was lost."""
