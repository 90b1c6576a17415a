# What the reactor runs, once for any number of events: infra_formula/registration/events.py says what it does.
# By hand, to go on with what a stop of the master interrupted:
#   salt-run state.orchestrate infra.orch.process_events
include:
  - infra.orch.modules

infra-orch-events-processed:
  module.run:
    - infra_fleet.process_events: []

