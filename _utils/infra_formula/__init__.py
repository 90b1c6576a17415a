"""What infra-formula computes, compares and writes: plain Python below thin Salt modules.

``_modules``, ``_states`` and ``_runners`` import it; Salt's ``saltutil.sync_utils`` brings it to a
minion. It raises the exceptions of :mod:`infra_formula.errors`, runs programs by
:mod:`infra_formula.process`, and reaches Salt through :class:`infra_formula.minion.Minion` alone.
"""
