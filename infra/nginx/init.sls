include:
  - infra.nginx.package
  - infra.nginx.webroot
  - infra.nginx.certificate
  - infra.nginx.config
  - infra.nginx.firewall
  - infra.nginx.service
  - infra.daemon.stable
