"""Everything of the outside world that can go wrong, as one tree.

    PipelineError
    ├── ConfigError            a mistake in the configuration file (exit code 2)
    ├── WeightsError           weights that are missing, damaged or not trusted
    ├── SourceError            a camera or file
    │   ├── SourceUnavailable  cannot be opened (now)
    │   ├── SourceRefused      401, 403: the credentials are wrong; back off for minutes
    │   └── SourceLost         was delivering and stopped
    ├── DecodeError            a message, file or row that cannot be read
    ├── BusUnavailable         Redis cannot be reached
    │   └── BusRefused         Redis answered, and said no (wrong password): fatal
    ├── InferenceUnavailable   the inference process is away
    └── OutputError            a file or folder that cannot be written

Every message is one line and says what to do next. A wrong argument is a plain `ValueError`.
"""


class PipelineError(Exception):
    """Base of all errors that a user may see; its text is shown without a traceback."""


class ConfigError(PipelineError):
    """One or more mistakes in the configuration.

    Args:
        mistakes: one line each, beginning with its place in the file where known.
    """

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class WeightsError(PipelineError):
    """Weights that are missing, damaged or not trusted."""


class SourceError(PipelineError):
    """A camera or file that does not deliver."""


class SourceUnavailable(SourceError):
    """The source cannot be opened now; a live source may be tried again."""


class SourceRefused(SourceError):
    """The source refused the credentials; trying again soon locks accounts out."""


class SourceLost(SourceError):
    """The source was delivering and stopped."""


class DecodeError(PipelineError):
    """A message, file or row that cannot be read."""


class BusUnavailable(PipelineError):
    """Redis cannot be reached; may be tried again."""


class BusRefused(BusUnavailable):
    """Redis refused the credentials or the command; trying again does not help."""


class InferenceUnavailable(PipelineError):
    """The inference process does not answer; it may come back."""


class OutputError(PipelineError):
    """A file or folder that cannot be written."""
