"""Storm, the probabilistic model checker, through stormpy 2.

Storm minimises a cost instead of maximising a reward. A step costs the mass that ends without
success, discounting included, plus the price of help; the expected total is 1 - V(s). No cost is
negative that way, which matters: with rewards of both signs its sound value iteration is off by
1e-5 at a requested 1e-8. A discount is an explicit sink: every row sends 1 - gamma of its mass
to `done`. Plain value iteration stops ten to a hundred times above the requested precision, so
optimistic value iteration, which is sound, stands for it.
"""

from collections.abc import Callable

import numpy as np
import scipy.sparse
import stormpy
from stormpy import datastructures, environments, logic, models

from experiments.peers.problem import ACCURACY, Problem


def policy_iteration(problem: Problem) -> Callable[[float], np.ndarray]:
    """Policy iteration with Storm's native linear solver."""
    # The linear solver stops on the change of one step, hence the margin.
    return _build(problem, environments.MinMaxMethod.POLICY_ITERATION, ACCURACY * 1e-2)


def value_iteration(problem: Problem) -> Callable[[float], np.ndarray]:
    """Optimistic value iteration."""
    return _build(problem, environments.MinMaxMethod.OPTIMISTIC_VALUE_ITERATION, ACCURACY / 2)


def _build(
    problem: Problem, method: environments.MinMaxMethod, precision: float
) -> Callable[[float], np.ndarray]:
    mdp, unsuccessful = _model(problem)
    environment = _environment(method, precision)
    query = logic.parse_properties('R{"cost"}min=? [F "done"]')[0]
    is_help = np.append(problem.is_help(), 0.0)

    def solve(cost: float) -> np.ndarray:
        row_cost = (unsuccessful + cost * is_help).tolist()
        reward_model = models.SparseRewardModel[float](optional_state_action_reward_vector=row_cost)
        model = models.SparseMdp[float](mdp)
        model.add_reward_model("cost", reward_model)
        result = stormpy.model_checking(model, query, environment=environment)
        return 1.0 - np.asarray(result.get_finite_value_vector())[: problem.num_states]

    return solve


def _model(problem: Problem) -> tuple[models.SparseMdp, np.ndarray]:
    """The discounted MDP with state `done` last, and each row's mass that ends unsuccessfully."""
    num_states, num_actions = problem.num_states, problem.num_actions
    discounted = problem.transition * problem.discount
    ending = 1.0 - np.asarray(discounted.sum(axis=1)).ravel()
    entries = scipy.sparse.hstack(
        [discounted, scipy.sparse.csr_matrix(ending[:, None])], format="csr"
    ).tocoo()
    num_rows = entries.shape[0]
    builder = datastructures.SparseMatrixBuilder[float](
        rows=num_rows + 1,
        columns=num_states + 1,
        entries=entries.nnz + 1,
        has_custom_row_grouping=True,
        row_groups=num_states + 1,
    )
    builder.add_next_values(
        [*entries.row.tolist(), num_rows],
        [*entries.col.tolist(), num_states],
        [*entries.data.tolist(), 1.0],
        list(range(0, num_rows + 1, num_actions)),
    )
    labeling = models.StateLabeling(num_states + 1)
    labeling.add_label("init")
    labeling.add_label_to_state("init", 0)
    labeling.add_label("done")
    labeling.add_label_to_state("done", num_states)
    components = models.SparseModelComponents[float](builder.build(), labeling, {})
    return models.SparseMdp[float](components), np.append(ending - problem.exit_success, 0.0)


def _environment(method: environments.MinMaxMethod, precision: float) -> environments.Environment:
    environment = environments.Environment()
    solver = environment.solver()
    solver.set_linear_equation_solver_type(environments.EquationSolverType.NATIVE)
    solver.min_max().method = method
    for settings in (solver.min_max(), solver.native()):
        settings.precision = stormpy.Rational(f"1/{round(1 / precision)}")
        settings.relative_termination_criterion = False
    return environment
