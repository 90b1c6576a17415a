"""The digest of this release; written by `make generate`."""

DIGEST = "5d099d239cfacae995d21fb3ce6dd213f77cdfd81b9cb220b3d340471262367d"
