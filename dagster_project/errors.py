"""The three errors that tokenledger raises on purpose.

Every message says what was tried, what was observed, what was expected and what to do next. Put no other
exception classes here: a failed gate is a result, not an exception.
"""


class TokenledgerError(Exception):
    """Base of every error that tokenledger raises on purpose."""


class ConfigurationError(TokenledgerError):
    """The user's configuration or reference data is wrong; nothing was run."""


class TransientSourceError(TokenledgerError):
    """A source could not be read now; the same request may succeed later."""


class PermanentSourceError(TokenledgerError):
    """A source cannot be read until somebody changes something."""
