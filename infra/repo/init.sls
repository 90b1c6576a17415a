include:
  - infra.repo.package
  - infra.repo.config
