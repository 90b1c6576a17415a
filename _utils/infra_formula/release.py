"""The digest of this release; written by `make generate`."""

DIGEST = "0c3da301d0beb1ba85878c87e63261bfd0b5306cce3131ad78c9a110a71fdcc0"
