"""The model checker Storm, through stormpy 2 (https://www.stormchecker.org).

Storm cannot discount inside `multi(...)`, so the discount is an explicit transition to the sink
"done"; so are failure, and stopping in a closed nohelp class. Storm has had wrong results with
rewards of both signs (moves-rwth/storm issue 1061): a single cost is asked as min (1 - S) + r.M,
whose rewards are not negative.
"""

import numpy as np

from tests.oracles.problem import Problem


def available() -> bool:
    try:
        import stormpy

        return int(stormpy.__version__.split(".")[0]) >= 2
    except ImportError:
        return False


def _build(problem: Problem, discount: float, cost=None):
    """States: those with rows, then one that draws the first state, "success", "done". Success
    moves on to done.
    """
    from stormpy import datastructures, models

    alive = np.flatnonzero(problem.alive)
    index = np.full(problem.num_states, -1)
    index[alive] = np.arange(alive.size)
    first, success, done = alive.size, alive.size + 1, alive.size + 2
    loops = problem.free_loops() & (discount == 1.0)
    builder = datastructures.SparseMatrixBuilder[float](0, 0, 0, False, True, 0)
    calls, fails, row = [], [], 0

    def add(entries, call):
        nonlocal row
        for column, value in sorted(entries.items()):
            builder.add_next_value(row, int(column), float(value))
        calls.append(call)
        fails.append(entries.get(done, 0.0))
        row += 1

    for s in alive:
        builder.new_row_group(row)
        for row_id in np.flatnonzero(problem.row_state == s):
            where = slice(problem.move.indptr[row_id], problem.move.indptr[row_id + 1])
            entries = {
                index[t]: discount * p
                for t, p in zip(problem.move.indices[where], problem.move.data[where], strict=True)
            }
            if problem.win[row_id] > 0:
                entries[success] = problem.win[row_id]
            rest = 1.0 - sum(entries.values())
            if rest > 1e-12:
                entries[done] = rest
            add(entries, problem.row_action[row_id])
        if loops[s]:
            add({done: 1.0}, 0)
    builder.new_row_group(row)
    begin = {index[s]: p for s, p in enumerate(problem.start) if p > 0}
    add(begin, 0)
    builder.new_row_group(row)
    add({done: 1.0}, 0)
    builder.new_row_group(row)
    add({done: 1.0}, 0)
    matrix = builder.build()

    labels = models.StateLabeling(done + 1)
    for label, state in (("init", first), ("success", success), ("done", done)):
        labels.add_label(label)
        labels.add_label_to_state(label, state)
    calls = np.asarray(calls)
    reward_model = models.SparseRewardModel[float]
    rewards = {
        f"help{k}": reward_model(
            optional_state_action_reward_vector=(calls == k).astype(float).tolist()
        )
        for k in range(1, problem.num_actions)
    }
    if cost is not None:
        # One unit for the mass that fails, so that the total is (1 - S) + cost . M. The last two
        # rows are success and done themselves.
        loss = np.concatenate([[0.0], np.atleast_1d(cost)])[calls]
        loss[:-2] += fails[:-2]
        rewards["loss"] = reward_model(optional_state_action_reward_vector=loss.tolist())
    components = models.SparseModelComponents[float](
        transition_matrix=matrix, state_labeling=labels, reward_models=rewards
    )
    return models.SparseMdp[float](components), index, first


def _check(model, query: str):
    import stormpy
    from stormpy import developer, environments

    developer.set_log_level(developer.LogLevel.ERR)  # it warns of infinite rewards

    # Policy iteration: Storm's sound iterations stop or refuse where free cycles and small
    # precisions meet.
    environment = environments.Environment()
    environment.solver().min_max().method = environments.MinMaxMethod.POLICY_ITERATION
    environment.solver().min_max().precision = stormpy.Rational("1/100000000000")
    environment.modelchecker().multi().precision = stormpy.Rational("1/1000000000")
    (prop,) = stormpy.parse_properties(query)
    return stormpy.model_checking(model, prop, environment=environment)


def best_success(problem: Problem, budget, *, discount: float = 1.0) -> float:
    """max S subject to usage_k <= budget_k."""
    model, _, first = _build(problem, discount)
    limits = ", ".join(
        f'R{{"help{k}"}}<={c!r} [F "done"]'
        for k, c in enumerate(np.atleast_1d(budget).astype(float).tolist(), 1)
    )
    return _check(model, f'multi(Pmax=? [F "success"], {limits})').get_value(first)


def values(problem: Problem, cost, *, discount: float = 1.0) -> np.ndarray:
    """[S] optimal S - cost . M of every state."""
    model, index, _ = _build(problem, discount, cost)
    result = _check(model, 'R{"loss"}min=? [F "done"]')
    value = np.zeros(problem.num_states)
    for s in np.flatnonzero(problem.alive):
        value[s] = 1.0 - result.get_value(int(index[s]))
    return value
