"""The digest of this release; written by `make generate`."""

DIGEST = "cbdce86639bee7057fa59086bebb81c1cf6e4231106fcdb29dd3950fee7971db"
