"""The digest of this release; written by `make generate`."""

DIGEST = "3b556e22b5954f7b7bd04eb7e70a85825872bd13959d55a1b9989aac70f705d9"
