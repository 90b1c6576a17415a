"""The digest of this release; written by `make generate`."""

DIGEST = "3fb408fdc49b5ca00e3efd48530888394d4c6983915d240ea844c16fa6f660a7"
