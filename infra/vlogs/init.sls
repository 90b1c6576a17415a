# VictoriaLogs: takes logs in, keeps them and answers.
include:
  - infra.vlogs.package
  - infra.vlogs.config
  - infra.vlogs.service
  - infra.daemon.stable
