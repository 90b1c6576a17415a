"""The digest of this release; written by `make generate`."""

DIGEST = "c1b09c8de7bcf97f7247389727cc4ece29518f51db58ec2d5cbfe793441915e8"
