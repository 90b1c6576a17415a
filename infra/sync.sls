# `state.apply` does not sync custom modules by itself (only a highstate does), and a fresh minion
# has none. They are synced while this file is rendered, so that test=True has them too, and loaded
# before the first state that needs them. Nothing else may call a custom module from Jinja.
{%- set synced = salt['saltutil.sync_utils'](refresh=false) + salt['saltutil.sync_modules'](refresh=false)
  + salt['saltutil.sync_states'](refresh=false) %}

infra-sync-modules-loaded:
  test.nop:
    - order: first
{%- if synced %}
    - reload_modules: true
{%- endif %}
