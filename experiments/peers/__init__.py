"""Other solvers of the same tables, each used in the fastest way it offers.

A peer builds its model once and is then asked for one cost after another (`many` peers: for all
costs in one call). All work in float64 and return V of every state within `ACCURACY`.
"""

import dataclasses
import importlib
import importlib.util
from collections.abc import Callable

import numpy as np

from experiments.peers.problem import ACCURACY, Problem, from_instance

__all__ = ["ACCURACY", "PEERS", "Peer", "Problem", "from_instance"]


@dataclasses.dataclass(frozen=True)
class Peer:
    """How to reach one solver.

    Attributes:
      package: the package it needs.
      module: module of this folder that adapts it.
      function: function of that module, `function(problem) -> solve`.
      many: solve takes costs [R] and returns V [S, R]; else one cost and V [S].
      max_states: beyond this it needs too much memory to be tried.
    """

    package: str
    module: str
    function: str
    many: bool = False
    max_states: int | None = None

    def installed(self) -> bool:
        """Whether its package can be imported."""
        return importlib.util.find_spec(self.package) is not None

    def build(self, problem: Problem) -> Callable[[np.ndarray], np.ndarray]:
        """The model of `problem`: a function from costs [R] to V [S, R]."""
        module = importlib.import_module(f"experiments.peers.{self.module}")
        solve = getattr(module, self.function)(problem)
        if self.many:
            return solve
        return lambda costs: np.stack([solve(float(cost)) for cost in costs]).T


PEERS = {
    "storm-pi": Peer("stormpy", "storm", "policy_iteration"),
    "storm-vi": Peer("stormpy", "storm", "value_iteration"),
    "quantecon": Peer("quantecon", "quantecon_mpi", "modified_policy_iteration"),
    "mdpsolver": Peer("mdpsolver", "mdpsolver_mpi", "modified_policy_iteration"),
    "scipy": Peer("scipy", "scipy_csr", "value_iteration"),
    "pymdptoolbox": Peer("mdptoolbox", "toolbox", "value_iteration", max_states=10_000),
    "mdpax": Peer("mdpax", "mdpax_vi", "value_iteration"),
    "numba": Peer("numba", "gauss_seidel", "one_cost"),
    "numba-many": Peer("numba", "gauss_seidel", "many_costs", many=True),
}
