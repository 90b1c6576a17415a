"""The digest of this release; written by `make generate`."""

DIGEST = "328f4104878e68753c925a816611e37d4d20edeba5af1ac173e46ec205771db7"
