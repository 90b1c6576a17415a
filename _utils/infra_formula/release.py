"""The digest of this release; written by `make generate`."""

DIGEST = "feb347021cbffa56de4f27d8a0bd2618fdf16092b1c390508210de6274042422"
