"""The digest of this release; written by `make generate`."""

DIGEST = "27000c0d3275d691ac8705a7f56795897f60588f3a2c9446ef10f4bf0330fefb"
