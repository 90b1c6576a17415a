"""The digest of this release; written by `make generate`."""

DIGEST = "34b802400ead5edd622c48b14cdedc8a50b128920e49522c8c37566bf117f086"
