#!yaml
# From odd.yml, by infra_pigsty.convert. Passwords of the inventory: assign it to INFRA nodes only.
infra_secrets:
  nginx_users:
    admin: '12345'
