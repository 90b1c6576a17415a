"""The digest of this release; written by `make generate`."""

DIGEST = "2792812cc427266f4c580f2871c7c6e1f994a1856067a939d3fc43e03e074b52"
