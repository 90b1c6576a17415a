# Alertmanager: routes alerts to people; one mesh over all INFRA nodes.
include:
  - infra.alertmanager.package
  - infra.alertmanager.config
  - infra.alertmanager.service
  - infra.daemon.stable
