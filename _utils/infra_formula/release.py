"""The digest of this release; written by `make generate`."""

DIGEST = "6b3b93e02fbeee662d53ba9b0ca865b22d43dd7639e865e5c5cdef5b88651707"
