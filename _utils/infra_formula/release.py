"""The digest of this release; written by `make generate`."""

DIGEST = "cc8fd36bc3ce60139cdeca650a2b9b929b83f5ed2199a4c7861ed8357ff7f67e"
