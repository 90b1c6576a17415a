"""The digest of this release; written by `make generate`."""

DIGEST = "98ab32331a4feb0b9b1a9670e05773fda6ff1b2042f3cf31882df19d192b8311"
