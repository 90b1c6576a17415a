#!yaml
# From infra-only.yml, by infra_pigsty.convert. Passwords of the inventory are in here.
infra:
  admin_ip: 10.10.10.10
  infra_hosts:
    10.10.10.10:
      infra_seq: 1
  nginx_sslmode: enforce
  nginx_users:
    admin: pigsty
  infra_portal:
    home:
      domain: i.pigsty
      auth: true
    docs:
      domain: docs.pigsty
      path: /www/docs
      index: true
  repo_enabled: false
  node_repo_modules: node,infra,pgsql
  haproxy_enabled: true
  vlogs_enabled: false
  vtraces_enabled: false
  vector_enabled: false
