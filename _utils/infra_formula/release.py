"""The digest of this release; written by `make generate`."""

DIGEST = "857a558be5bbfa80af005a816a630c6ee84d884e11fbe68e225190dad599f345"
