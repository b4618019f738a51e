"""Errors that a user can act on: each names the file, the dataset or value, and the next step.

The command line prints the message of a `WorkbookError` on one line and ends with code 2;
any other exception is a bug of ours.
"""


class WorkbookError(Exception):
    """Something outside the code is wrong: a file, a parameter, a missing step."""


class PatternFileError(WorkbookError, ValueError):
    """A pattern file cannot be read as patterns, or holds values that cannot be photon counts."""


class BrokenLinkError(PatternFileError):
    """A link within a pattern file leads nowhere."""


class LabelsError(WorkbookError, ValueError):
    """Labels do not fit the patterns, or are too few for the requested sets."""


class BoxError(WorkbookError, ValueError):
    """A bounding box is empty or lies outside the pattern."""


class ClassChoiceError(WorkbookError, ValueError):
    """A choice of EM classes names classes that do not exist, or belongs to other EM runs."""


class NetworkFileError(WorkbookError, ValueError):
    """A Darknet `.cfg` or `.weights` file, or a checkpoint, does not fit the network."""


class ProfileError(WorkbookError, ValueError):
    """A profile holds an unknown key or an impossible value."""


class RunFileError(WorkbookError, ValueError):
    """A file of a run's results is damaged, or was edited into something the workbook cannot use."""


class MissingStepError(WorkbookError, LookupError):
    """A step needs files that an earlier step writes, and that step has not run."""


class StaleResultError(WorkbookError, RuntimeError):
    """A stored result belongs to other settings, patterns or code, and may not be computed anew."""


class StorageError(WorkbookError, OSError):
    """A file cannot be written: the disk is full, or the folder is read-only."""


class LockedError(WorkbookError, RuntimeError):
    """Another process is working in the same folder, or on the same file."""


class WorkerDiedError(WorkbookError, RuntimeError):
    """A worker process was killed, for instance by the system when memory ran out."""


class TrainingDivergedError(WorkbookError, ArithmeticError):
    """The training loss became infinite or NaN."""


class DownloadError(WorkbookError, OSError):
    """A published file cannot be downloaded: there is no network, or the server sends something else."""


class FetchedFileError(WorkbookError, ValueError):
    """A downloaded file differs from the published one in size or checksum."""


class ClusterError(WorkbookError, RuntimeError):
    """The cluster cannot be reached, or the connection to it was lost."""
