"""The digest of this release; written by `make generate`."""

DIGEST = "74e62cec545b666458033568df2d58fbd5513515953c8bb19852ec8dbc1526bb"
