"""The digest of this release; written by `make generate`."""

DIGEST = "c436f2eeaf10509d24682f32648009e743bc2da8602aa1568a3407216a1da274"
