# What the reactor runs, once for any number of events: _runners/infra_fleet.py says what it does.
# By hand, to go on with what a stop of the master interrupted:
#   salt-run state.orchestrate infra.orch.process_events
# The runner is synced while this is rendered, so that a site needs no command after an upgrade.
{%- do salt['saltutil.runner']('saltutil.sync_runners') %}

infra-orch-events-processed:
  salt.runner:
    - name: infra_fleet.process_events
