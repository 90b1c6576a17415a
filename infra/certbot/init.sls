# Public certificates for the portal, got and renewed by certbot.
include:
  - infra.certbot.package
  - infra.certbot.config
  - infra.certbot.service
