# What the reactor runs, once for any number of events: infra_formula/registration/events.py says what it does.
# By hand, to go on with what a stop of the master interrupted:
#   salt-run state.orchestrate infra.orch.process_events
# The library and its module are synced to the master while this is rendered, so that an upgrade needs no command.
{% set synced = salt['saltutil.sync_utils'](refresh=false) + salt['saltutil.sync_modules'](refresh=false) %}

infra-orch-modules-loaded:
  test.nop:
    - order: first
{% if synced %}
    - reload_modules: true
{% endif %}

infra-orch-events-processed:
  module.run:
    - infra_fleet.process_events: []
    - require:
      - test: infra-orch-modules-loaded
