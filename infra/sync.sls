# The library, modules and states are this release's: infra/map.py synced them while it was rendered,
# so that test=True has them too. Under salt-ssh the target gets them here.
{% from "infra/map.jinja" import site, yaml with context %}

infra-sync-modules-loaded:
{% if site.by_ssh %}
  infra_library.synced:
    - environment: {{ yaml(saltenv) }}
    - files: salt://infra
    - reload_modules: true
{% else %}
  test.nop:
{% endif %}
    - order: first
