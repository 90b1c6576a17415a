"""The digest of this release; written by `make generate`."""

DIGEST = "a3284d60be39da1552f30986f8a20cd19262160a816715b658bbf4357d6ec5eb"
