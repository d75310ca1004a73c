"""Solvers that answer the questions of `core.dp` by other means, for the tests only.

None of them imports `core`. Every oracle takes the keyword arguments of
`TransitionTable.from_arrays` (see `tables.py`) as a `Problem`:

  lp.py           occupancy-measure linear programs, solved by HiGHS through scipy
  storm.py        the model checker Storm (optional)
  discrete_dp.py  QuantEcon's DiscreteDP (optional; discount < 1 only)
  dense.py        linear solves, enumeration of all deterministic policies, the product space of a
  hard cap paper.py        the algorithm printed in the paper, transcribed
"""
