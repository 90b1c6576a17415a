"""The digest of this release; written by `make generate`."""

DIGEST = "7fe79cdf96a04e3d565364e43c9f5ba7b37283bac683f0d1ea7be6f9d6d96204"
