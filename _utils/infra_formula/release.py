"""The digest of this release; written by `make generate`."""

DIGEST = "287afde5e880292cea91aa0ca35c7409d7bedc7a5b35393a5fc798c00a0aa80e"
