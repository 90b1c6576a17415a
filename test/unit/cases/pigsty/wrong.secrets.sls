#!yaml
# From wrong.yml, by infra_pigsty.convert. Passwords of the inventory: assign it to INFRA nodes only.
infra_secrets:
  nginx_users:
    admin: $6$locked$no-password-makes-this
