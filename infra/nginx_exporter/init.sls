# Metrics of the portal's nginx.
include:
  - infra.nginx_exporter.package
  - infra.nginx_exporter.config
  - infra.nginx_exporter.service
