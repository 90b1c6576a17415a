"""The digest of this release; written by `make generate`."""

DIGEST = "8b8aee00cb96bd1e8f83ef4596dd94b714b2a7691ea246541d007cc3aef4fa74"
