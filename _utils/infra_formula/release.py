"""The digest of this release; written by `make generate`."""

DIGEST = "498a6a9e193675abf6402f5d3d21e072b65f5ab75cfdc02f2e89cfdcf3ff6296"
