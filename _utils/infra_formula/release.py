"""The digest of this release; written by `make generate`."""

DIGEST = "78f5ddcf9305793b567cbe876a20c3896631671cbfc830a63efa0f2f11c91ebe"
