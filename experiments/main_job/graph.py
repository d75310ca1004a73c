"""The stages of the main job: what is played and trained for a scale, and what needs what."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

from experiments.main_job.scales import Scale
from experiments.main_job.suite import COST, MAIN, STATE_ALONE
from experiments.stages import Stage

ORACLE = "oracle"  # a help that nothing is learnt for: for Table 5
PRM_STATE = "prm_state"  # the paper's process reward model, which reads no replies
# Tokens of an update where all is tuned: texts are read once, and more updates learn more.
_BATCH = 2048
# Episodes at once where local models play, collected and evaluated: their blocks are the fuller.
_EPISODES, _EVALUATED = 256, 1024
# In observations. The base actor has played on from every state; of help that was never tried the
# model says how it does if it plays to the end, which is more than one call, so it is not asked.
PRIOR = 0.0
# Budgets of two helps: the paper's r1 and r2.
_PAIRS = ((0.5, 0.5), (0.5, 1.0), (1.0, 0.5))
# Costs of two helps to label at: where a budget does not bind its cost is 0, and teaches nothing.
_PAIR_COSTS = tuple(itertools.product((0.01, 0.03, 0.1, 0.3), repeat=2))


@dataclasses.dataclass(frozen=True)
class Players:
    """Who plays a type of task, by the names of `experiments.players`.

    Attributes:
      base: actor.
      stronger: intervention.
      proposer: the base actor as it samples, for search; None where there is no search.
      folders: language models whose files count as inputs.
      flags: for the scripts that play, such as --base_url.
      limits: further ones, which change nothing about what they find, such as --spend_calls.
    """

    base: str
    stronger: str
    proposer: str | None = None
    folders: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to be made.

    Attributes:
      scale: how large.
      players: of each type.
      backbone: folder of the language model that is trained; None lets one be made.
      seed: all chance comes from it.
    """

    scale: Scale
    players: Mapping[str, Players]
    backbone: str | None
    seed: int = 0

    def stages(self) -> list[Stage]:
        """All of them, in no order that matters."""
        found = [] if self.backbone is not None else [self._backbone()]
        for kind in self.scale.tasks:
            for intervention in self.pairs(kind):
                found += _Pair(self, kind, intervention).stages()
        return found

    def pairs(self, kind: str) -> tuple[str, ...]:
        """The interventions of a type; those with search only where somebody samples."""
        can_search = self.players[kind].proposer is not None
        found = [one for one in self.scale.tasks[kind] if can_search or one == "stronger"]
        if self.scale.whole_tasks and kind == "s_obj":
            found.append(ORACLE)
        return tuple(found)

    def _backbone(self) -> Stage:
        flags = ("--out={out}/backbone", *self.scale.backbone, f"--seed={self.seed}")
        return _stage("backbone", "train_actor", flags, ("backbone",), seconds=20)


class _Pair:
    """The stages of a type and its interventions; names of files are below the job's folder."""

    def __init__(self, job: Job, kind: str, intervention: str):
        self._job, self._scale = job, job.scale
        self._kind, self._intervention = kind, intervention
        self._players = job.players[kind]
        self._key = f"{kind}-{intervention}"
        self._tasks = job.scale.tasks[kind].get(intervention, 0)
        self._seed = f"--seed={job.seed}"

    def stages(self) -> list[Stage]:
        if self._intervention == ORACLE:
            return [self._suite("test", {}), self._evaluate("test")]
        found = [self._collect("train"), self._collect("val"), self._prm("prm", "--reply")]
        found += [self._collect_alone()] if self._alone else []
        if self._intervention == "stronger":
            found.append(self._prm(PRM_STATE))
            if "search" in self._job.pairs(self._kind):
                found.append(self._prm("q", "--action"))
        found += [self._plan("plan"), self._helper(MAIN, "plan")]
        helpers = {MAIN: f"helper-{MAIN}"}
        if self._kind == "s_obj" and self._intervention == "stronger":
            for variant in self._scale.variants:
                made = self._variant(variant)
                found += made
                helpers[variant] = f"helper-{variant.partition('@')[0]}"
        found += [self._suite("test", helpers), self._evaluate("test")]
        if len(helpers) > 1:
            found += [self._suite("train", helpers), self._evaluate("train")]
        if self._intervention == "stronger":
            found.append(self._examine())
        return found

    def _at(self, part: str) -> str:
        return f"{part}/{self._key}"

    @property
    def _learnt(self) -> str:
        """The pair whose plan and process reward model are used."""
        return f"{self._kind}-stronger" if self._intervention == ORACLE else self._key

    def _who(self) -> tuple[str, ...]:
        """Flags that say who plays."""
        names = {"stronger": [self._players.stronger], "search": ["search"], ORACLE: [ORACLE]}
        names["both"] = [*names["stronger"], *names["search"]]
        flags = (
            f"--actor={self._players.base}",
            f"--intervention={','.join(names[self._intervention])}",
            *self._players.flags,
        )
        if not self._searches:
            return flags
        scorer = f"--scorer=prm:{{out}}/q/{self._kind}-stronger"
        return (*flags, f"--proposer={self._players.proposer}", scorer)

    def _first_prm(self, what: str) -> str | None:
        """The pair from whose process reward model another one begins: one of the same base actor
        that has learnt from more tasks; None if there is none."""
        if what == PRM_STATE:
            return None  # nothing of the paper's reads replies
        if self._searches or what == "q":
            return f"{self._kind}-stronger"
        same = self._job.players["s_obj"].base == self._players.base
        return "s_obj-stronger" if same and self._kind != "s_obj" else None

    @property
    def _searches(self) -> bool:
        return self._intervention not in ("stronger", ORACLE)

    def _needs_q(self) -> tuple[str, ...]:
        return (f"q-{self._kind}-stronger",) if self._searches else ()

    def _collect(self, split: str) -> Stage:
        number = self._tasks if split == "train" else self._scale.forecast_tasks
        if split == "val" and self._searches:
            number = min(number, self._scale.search_val_tasks // 2)
        # Validation tables are for forecasts alone, and search is dear.
        once = split == "val" or self._searches
        repetitions = 1 if once else self._scale.repetitions.get(self._kind)
        out, other = self._at(f"rollouts-{split}"), f"{self._kind}-stronger"
        flags = (
            f"--out={{out}}/{out}",
            f"--types={self._kind}",
            # The models need not say again what they said in the same tasks.
            *([f"--known={{out}}/rollouts-{split}/{other}"] if self._searches else []),
            f"--split={'train' if split == 'train' else 'val_unseen'}",
            f"--tasks={number}",
            "--close=nohelp",
            *([] if repetitions is None else [f"--repetitions={repetitions}"]),
            *([f"--batch={_EPISODES}"] if self._players.folders else []),
            self._seed,
            *self._who(),
        )
        return _stage(
            f"collect-{split}-{self._key}",
            "collect",
            flags,
            (out,),
            needs=(*self._needs_q(), *([f"collect-{split}-{other}"] if self._searches else [])),
            inputs=self._players.folders,
            keeps=True,
            limits=self._players.limits,
            seconds=(1.5 if self._searches else 0.5) * number,
        )

    @property
    def _alone(self) -> int:
        """Further training tasks that the base actor plays alone."""
        return 0 if self._searches else self._scale.alone.get(self._kind, 0)

    def _collect_alone(self) -> Stage:
        out = self._at("rollouts-alone")
        flags = (
            f"--out={{out}}/{out}",
            f"--types={self._kind}",
            f"--skip={self._tasks}",
            f"--tasks={self._alone}",
            "--probabilities=0",
            *([f"--batch={_EPISODES}"] if self._players.folders else []),
            self._seed,
            *self._who(),
        )
        how = dict(inputs=self._players.folders, keeps=True, limits=self._players.limits)
        seconds = 0.1 * self._alone
        return _stage(
            f"collect-alone-{self._key}", "collect", flags, (out,), seconds=seconds, **how
        )

    def _prm(self, what: str, *reads: str) -> Stage:
        """A process reward model: of states and the base actor's replies, of states alone as the
        paper's, or of actions for search."""
        rollouts, out = f"{{out}}/{self._at('rollouts-train')}", self._at(what)
        needs, inputs = self._needs_backbone(), self._backbone_inputs()
        backbone = self._backbone()
        tokens = self._scale.tokens[self._kind] if what == "prm" else self._scale.less_tokens
        if (first := self._first_prm(what)) is not None:
            backbone, needs, inputs = f"{{out}}/prm/{first}/backbone", (f"prm-{first}",), ()
        how = ("head", None) if self._searches else (self._scale.tune, tokens)
        tuned = self._tuned(backbone, *how)
        members = 1
        if what == "prm" and not self._searches:
            members = self._scale.members.get(self._kind, 1)
        tuned += (f"--members={members}",) if members > 1 else ()
        if self._alone and what != "q":
            rollouts += f",{{out}}/{self._at('rollouts-alone')}"
            needs += (f"collect-alone-{self._key}",)
        flags = f"--rollouts={rollouts}", f"--out={{out}}/{out}", *tuned, *reads
        return _stage(
            f"{what}-{self._key}",
            "train_prm",
            flags,
            (out,),
            needs=(f"collect-train-{self._key}", *needs),
            inputs=inputs,
            seconds=20 if self._searches else members * tokens / 8000,
        )

    def _plan(
        self,
        name: str,
        strength: float = PRIOR,
        rule: str = "exact",
        reply: bool = True,
        cost: float | None = None,
    ) -> Stage:
        """A plan and labels, along the frontier or at one cost besides those of the budgets."""
        out = self._at(name)
        budgets = [f"{b:g}" for b in self._scale.budgets]
        costs = [] if cost is None else [f"{cost:g}"]
        if self._intervention == "both":
            budgets, costs = (
                ["/".join(f"{x:g}" for x in pair) for pair in pairs]
                for pairs in (_PAIRS, _PAIR_COSTS)
            )
        flags = [
            f"--rollouts={{out}}/{self._at('rollouts-train')}",
            f"--out={{out}}/{out}",
            f"--budget={','.join(budgets)}",
            *([f"--costs={','.join(costs)}"] if costs else []),
            self._seed,
            *(["--reply"] if reply else []),
            f"--prm={{out}}/{self._at('prm')}",
            f"--strength={strength:g}",
            f"--stored={{out}}/{self._stored()}",
        ]
        if rule != "exact":
            flags.append(f"--rule={rule}")
        needs = [f"collect-train-{self._key}", f"prm-{self._key}"]
        needs += [f"plan-{self._key}"] if name != "plan" else []
        return _stage(f"{name}-{self._key}", "plan", flags, (out,), needs=tuple(needs), seconds=15)

    def _helper(
        self,
        variant: str,
        plan: str,
        target: str = "gains",
        cost: str = "all",
        backbone: str = "prm",
    ) -> Stage:
        out = self._at(f"helper-{variant}")
        flags = [
            f"--labels={{out}}/{self._at(plan)}",
            f"--out={{out}}/{out}",
            f"--target={target}",
            f"--cost={cost}",
            *self._tuned(f"{{out}}/{self._at(backbone)}/backbone", self._scale.tune_helper),
        ]
        needs = [f"{plan}-{self._key}", f"{backbone}-{self._key}"]
        if self._scale.tune_helper == "head" and backbone == "prm":
            flags.append(f"--stored={{out}}/{self._stored()}")
            needs.append(f"plan-{self._key}")
        needs = tuple(dict.fromkeys(needs))
        name = f"helper-{variant}-{self._key}"
        seconds = 15 if self._scale.tune_helper == "head" else self._scale.tokens[self._kind] / 8000
        return _stage(name, "train_helper", flags, (out,), needs=needs, seconds=seconds)

    def _variant(self, name: str) -> list[Stage]:
        if name == "paper_rule":
            return [self._plan("plan-paper", rule="paper"), self._helper(name, "plan-paper")]
        if name == STATE_ALONE:
            plan = "plan-state_alone"
            return [self._plan(plan, reply=False), self._helper(name, plan, backbone=PRM_STATE)]
        if name.startswith("prior_"):
            plan = f"plan-{name}"
            strength = float(name.removeprefix("prior_"))
            return [self._plan(plan, strength=strength), self._helper(name, plan)]
        if name == "one_cost":
            plan = "plan-one_cost"
            return [self._plan(plan, cost=COST), self._helper(name, plan, cost=f"{COST:g}")]
        return [self._helper(name, "plan", target=name)]

    def _suite(self, split: str, helpers: Mapping[str, str]) -> Stage:
        out = self._at("conditions")
        of = ",".join(f"{name}={{out}}/{self._at(folder)}" for name, folder in helpers.items())
        learnt = self._learnt
        flags = [
            f"--split={split}",
            f"--plan={{out}}/plan/{learnt}",
            *([f"--helpers={of}"] if of else []),
            f"--out={{out}}/{out}-{split}.json",
        ]
        outputs, needs = [f"{out}-{split}.json"], [f"plan-{learnt}", f"prm-{learnt}"]
        if split == "test":
            # Whoever helps, the base actor is the same: one model tells how it does alone.
            alone = f"{self._kind}-stronger"
            flags.append(f"--prm={{out}}/{PRM_STATE}/{alone}")
            needs.append(f"{PRM_STATE}-{alone}")
            if not self._searches:
                flags.append(f"--prm_reply={{out}}/prm/{alone}")
            curve = self._scale.curve and helpers and not self._searches
            flags += ["--curve"] if curve else []
            flags += ["--all_settings"] if self._scale.all_settings else []
            whole = self._scale.whole_tasks and self._kind == "s_obj"
            flags += ["--whole_tasks"] if whole else []
        else:
            # What was never tried lies on a best path only where something is known of it.
            priors = (one for one in self._scale.variants if one.startswith("prior_"))
            with_prior = next((f"plan-{one}" for one in priors), "plan")
            flags += [
                f"--matches={{out}}/{self._at('evaluation-test')}/matches.json",
                f"--prm_reply={{out}}/prm/{learnt}",
                f"--type={self._kind}",
                f"--tasks={self._scale.train_tasks}",
                f"--parts={{out}}/{out}-parts.json",
                f"--parts_plan={{out}}/{self._at(with_prior)}",
            ]
            needs.append(f"{with_prior}-{self._key}")
            outputs.append(f"{out}-parts.json")
            needs.append(f"evaluate-test-{self._key}")
        needs += [f"{folder}-{self._key}" for folder in helpers.values()]
        name = f"conditions-{split}-{self._key}"
        return _stage(name, "make_conditions", flags, tuple(outputs), needs=tuple(needs), seconds=2)

    def _evaluate(self, split: str) -> Stage:
        out, conditions = self._at(f"evaluation-{split}"), self._at("conditions")
        number = self._scale.train_tasks
        if split == "test":
            number = self._scale.search_tasks if self._searches else self._test_tasks()
            number = self._scale.whole_tasks if self._intervention == ORACLE else number
        flags = [
            f"--type={self._kind}",
            f"--split={'test_unseen' if split == 'test' else 'train'}",
            f"--tasks={number}",
            f"--conditions={{out}}/{conditions}-{split}.json",
            f"--label={self._intervention}",
            f"--seeds={self._scale.seeds}",
            f"--out={{out}}/{out}",
            *([f"--batch={_EVALUATED}"] if self._players.folders else []),
            self._seed,
            *self._who(),
        ]
        needs = [f"conditions-{split}-{self._key}", *self._needs_q()]
        # What the base actor said there it need not say again.
        rollouts = "val" if split == "test" else "train"
        flags.append(f"--known={{out}}/rollouts-{rollouts}/{self._learnt}")
        needs.append(f"collect-{rollouts}-{self._learnt}")
        if split == "test":
            flags.append(f"--val_tasks={self._val_tasks()}")
        if split == "test" and self._intervention != ORACLE:
            flags += [
                f"--forecast={{out}}/{self._at('rollouts-val')}",
                f"--prm={{out}}/{self._at('prm')}",
            ]
            needs += [f"prm-{self._key}"]
            flags += ["--keep"] if self._intervention == "stronger" else []
        if split == "train":
            flags.append(f"--parts={{out}}/{conditions}-parts.json")
        return _stage(
            f"evaluate-{split}-{self._key}",
            "evaluate",
            flags,
            (out,),
            needs=tuple(needs),
            inputs=self._players.folders,
            limits=self._players.limits,
            seconds=(3.0 if self._intervention == "both" else 1.2) * number,
        )

    def _examine(self) -> Stage:
        out = self._at("examined")
        flags = (
            f"--type={self._kind}",
            f"--tasks={self._test_tasks()}",
            f"--val_tasks={self._val_tasks()}",
            f"--label={self._intervention}",
            f"--prm={{out}}/{self._at('prm')},{{out}}/{self._at(PRM_STATE)}",
            f"--conditions={{out}}/{self._at('conditions')}-test.json",
            f"--evaluation={{out}}/{self._at('evaluation-test')}",
            f"--out={{out}}/{out}",
            self._seed,
            *self._who(),
        )
        needs = (f"evaluate-test-{self._key}", f"{PRM_STATE}-{self._key}")
        how = dict(needs=needs, limits=self._players.limits, seconds=0.03 * self._test_tasks())
        return _stage(f"examine-{self._key}", "examine", flags, (out,), **how)

    def _stored(self) -> str:
        """Hidden states of the rollouts' texts, which the plan computes: of one decoder."""
        return f"{self._at('plan')}/hidden.safetensors"

    def _test_tasks(self) -> int:
        return self._scale.test_tasks[self._kind]

    def _val_tasks(self) -> int:
        return self._scale.search_val_tasks if self._searches else self._scale.val_tasks

    def _tuned(self, backbone: str, tune: str, tokens: int | None = None) -> tuple[str, ...]:
        """Flags of training; a head alone reads all states if no number of tokens is given."""
        found = [f"--backbone={backbone}", f"--tune={tune}", self._seed]
        found += [f"--batch={_BATCH}"] if tune == "full" else []
        if tune != "head" or tokens is not None:
            found.append(f"--tokens={tokens or self._scale.tokens[self._kind]}")
        return tuple(found)

    def _backbone(self) -> str:
        return self._job.backbone or "{out}/backbone/model"

    def _needs_backbone(self) -> tuple[str, ...]:
        return () if self._job.backbone else ("backbone",)

    def _backbone_inputs(self) -> tuple[str, ...]:
        return (self._job.backbone,) if self._job.backbone else ()


def _stage(name: str, script: str, flags: Any, outputs: tuple[str, ...], **how: Any) -> Stage:
    return Stage(name, ("-m", f"experiments.{script}", *flags), outputs, **how)
