# `state.apply` does not sync custom modules by itself (only a highstate does), and a fresh minion
# has none. Nothing here calls a custom module from Jinja, so syncing first in the run is enough.
infra-sync-modules:
  saltutil.sync_modules:
    - refresh: false
    - reload_modules: true
    - order: first

infra-sync-states:
  saltutil.sync_states:
    - refresh: false
    - reload_modules: true
    - order: first
    - require:
      - saltutil: infra-sync-modules
