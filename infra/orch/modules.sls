# Every orchestration includes this. The library and its modules are synced to the master while it is
# rendered, so that an upgrade needs no command. If that changed any, they are loaded again.
{# Without a name, Salt syncs the environments of the master's top file. #}
{% set environment = {} if saltenv == 'base' else {'saltenv': 'base,' ~ saltenv} %}
{% set synced = salt['saltutil.sync_utils'](refresh=false, **environment)
      + salt['saltutil.sync_modules'](refresh=false, **environment)
      + salt['saltutil.sync_states'](refresh=false, **environment) %}
{% if synced %}

infra-orch-modules-loaded:
  test.nop:
    - order: first
    - reload_modules: true
{% endif %}
