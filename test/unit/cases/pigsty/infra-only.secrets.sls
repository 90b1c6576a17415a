#!yaml
# From infra-only.yml, by infra_pigsty.convert. Passwords of the inventory: assign it to INFRA nodes only.
infra_secrets:
  nginx_users:
    admin: pigsty
