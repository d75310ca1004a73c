"""The script bench_models and its parts. How fast anything is, is not tested."""

import json
import subprocess
import sys

import numpy as np
import pytest

from experiments.bench import accelerator_work, estimate, model_setup, model_work, roofline
from experiments.bench.model_cases import AcceleratorCase, Case, Side, accelerator_cases, cpu_cases
from experiments.bench.model_report import (
    NOT_INSTALLED,
    device_row,
    extrapolation,
    make_rows,
    markdown,
)
from experiments.bench.model_setup import Setup
from experiments.bench.roofline import Device
from models.config import LlamaConfig

MACHINE = {"processor": "a processor", "load": 0.5, "python": "3", "versions": {"jax": "1"}}
TINY = ["--models=tiny", "--tasks=1", "--seconds=0", "--repeats=1", "--batch=256"]
BY_HAND = LlamaConfig(
    vocab_size=10,
    hidden_size=4,
    intermediate_size=6,
    num_hidden_layers=3,
    num_attention_heads=2,
    num_key_value_heads=1,
    tie_word_embeddings=True,
)


def bench(*arguments):
    command = [sys.executable, "-m", "experiments.bench_models", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def case(name="tiny", promised=2.0, beside="PyTorch"):
    side = Side("a module", "a function")
    return Case("scoring", "tiny", name, side, side, beside=beside, promised=promised)


def answer(tokens=100, cpu=1.0, wall=2.0, check=(1.0, 2.0)):
    counts = {"tokens": tokens, "states": tokens // 10}
    measured = {"count": tokens, "cpu": cpu, "wall": wall, "note": "a note"}
    return {"status": "ok", **measured, "counts": counts, "check": list(check)}


def rows_of(ours, other, **options):
    found = case(**options)
    return make_rows([found], {("scoring", found.name): {"ours": ours, "other": other}})


def results(rows):
    return {"machine": MACHINE, "threads": 2, "seconds": 4.0, "repeats": 2, "rows": rows}


def cells(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("made")
    model_setup.make(str(folder), ["tiny"], tasks=1)
    return Setup(folder, "tiny", seconds=0.0, threads=1, batch_tokens=256, rows=32)


def test_script_measures_both_sides_and_saves_the_table(tmp_path):
    """Without PyTorch: growing transcripts are measured beside the same scorer."""
    done = bench(*TINY, "--groups=growing", f"--out={tmp_path}")
    saved = json.loads((tmp_path / "bench_models.json").read_text())
    [row] = saved["rows"]
    assert (row["status"], row["unit"], row["agreeing"]) == ("ok", "states", 1.0), done.stderr
    for side in ("ours", "other"):
        assert min(row[side].values()) > 0
        assert row["answers"][side][0]["counts"]["states"] % 12 == 0
    assert saved["accelerator"] is None
    assert done.returncode == (not row["kept"])
    text = (tmp_path / "bench_models.md").read_text()
    assert text == markdown(saved)
    assert text in done.stdout


@pytest.mark.parametrize("group", ["training", "scoring", "generation"])
def test_ours_and_pytorch_compute_the_same(setup, group):
    """Losses of the first training steps, scores of all states, greedy tokens."""
    from experiments.bench import torch_work

    ours, other = (getattr(module, group)(setup) for module in (model_work, torch_work))
    assert len(ours["check"]) == len(other["check"]) > 2
    assert np.isclose(ours["check"], other["check"], rtol=1e-3, atol=1e-3).mean() >= 0.99
    assert ours["counts"].keys() == other["counts"].keys()


def test_script_names_what_it_does_not_know(tmp_path):
    done = bench("--groups=training,score", f"--out={tmp_path}/out")
    assert done.stderr.strip() == (
        "bench_models: --groups: 'score', expected some of training, scoring, growing, generation."
    )
    assert done.returncode == 1
    assert not (tmp_path / "out").exists()


def test_rows_have_the_ratios_of_medians_for_each_thing_counted():
    ours = [answer(cpu=cpu, wall=wall) for cpu, wall in ((1.0, 4.0), (2.0, 2.0), (4.0, 1.0))]
    other = [answer(tokens=50, cpu=1.0, wall=5.0)]
    tokens, states = rows_of(ours, other)
    assert (tokens["unit"], states["unit"]) == ("tokens", "states")
    assert tokens["ours"] == {"each_cpu_second": 50.0, "each_second": 50.0}
    assert tokens["other"] == {"each_cpu_second": 50.0, "each_second": 10.0}
    assert states["ours"]["each_second"] == 5.0
    assert (tokens["cpu_ratio"], tokens["ratio"]) == (1.0, 5.0)


@pytest.mark.parametrize(
    "cpu, wall, kept", [(0.5, 1.0, True), (0.6, 1.0, False), (0.5, 1.1, False)]
)
def test_a_promise_is_kept_if_both_ratios_reach_it(cpu, wall, kept):
    rows = rows_of([answer(cpu=cpu, wall=wall)], [answer(cpu=1.0, wall=2.0)])
    assert [row["kept"] for row in rows] == [kept] * 2


def test_answers_that_differ_are_no_comparison():
    [tokens, _] = rows_of([answer(check=[1.0, 2.0])], [answer(check=[1.0, 2.1])])
    assert tokens["status"] == "failed"
    assert tokens["note"] == "only 50.0% of the numbers are the same"
    [tokens, _] = rows_of([answer(check=[1.0])], [answer(check=[1.0, 2.0])])
    assert tokens["status"] == "failed"


def test_table_shows_broken_promises_failures_and_what_is_missing():
    failed = {"status": "failed", "reason": "no memory"}
    rows = [
        *rows_of([answer(cpu=1.0, wall=2.0)], [answer(cpu=1.5, wall=5.0)])[:1],
        *rows_of([answer()], [{"status": NOT_INSTALLED}])[:1],
        *rows_of([failed], [answer()]),
    ]
    text = markdown(results(rows) | {"accelerator": None})
    assert cells(text)[2:] == [
        [
            *("scoring", "tiny", "tokens", "100", "67", "1.50", "50", "20", "2.50"),
            *("2 BROKEN", "PyTorch"),
        ],
        [
            *("scoring", "tiny", "tokens", "100", "", "", "50", "", "", "2"),
            "PyTorch is not installed",
        ],
        ["scoring", "tiny", "", "failed", "", "", "", "", "", "", "no memory"],
    ]
    assert "a processor, 2 threads, load 0.5; Python 3, jax 1. Measured 2 times, medians" in text


def test_a_million_tokens_are_extrapolated_from_the_first_training_row():
    training = {"group": "training", "ours": {"each_second": 20_000.0}}
    assert "takes 50 s" in extrapolation([{"group": "scoring", "ours": {}}, training])
    assert extrapolation([{"group": "scoring", "ours": {}}]) == ""


def test_cases_of_the_cpu_have_the_promises_of_the_project():
    promised = {(case.group, case.name): case.promised for case in cpu_cases(["1.3M", "11M"])}
    assert promised == {
        ("training", "1.3M"): 1.3,
        ("training", "11M"): 1.3,
        ("scoring", "1.3M"): 1.3,
        ("scoring", "11M"): 1.3,
        ("growing", "1.3M"): 5.0,
        ("generation", "1.3M, 1 at once"): None,
        ("generation", "1.3M, 32 at once"): None,
        ("generation", "1.3M, 256 at once"): 3.0,
    }


def test_model_flops_are_those_counted_by_hand():
    """D 4, H 2, K 1, h 2, F 6, L 3, V 10, T 5.

    Weights of a layer: q 16, k 8, v 8, o 16, SwiGLU 72: 120, twice a token: 5 x 240 = 1,200.
    Pairs of tokens 1 + 2 + 3 + 4 + 5 = 15, in 2 heads a score of 4 and a value of 4: 240.
    Logits of one token 2 x 40 = 80.
    """
    parts = roofline.forward_flops(BY_HAND, 5, 2)
    assert parts == {"products": 3 * 1200, "attention": 3 * 240, "logits": 2 * 80}
    whole = roofline.training_flops(BY_HAND, 5, 2, frozen=False)
    assert whole == 3 * (3600 + 720 + 160)
    frozen = roofline.training_flops(BY_HAND, 5, 2, frozen=True)
    assert frozen == 2 * (3600 + 160) + 3 * 720


def test_bytes_of_decoding_are_those_counted_by_hand():
    """360 weights and an embedding of 40, 2 bytes each; keys and values 2 x 2 x 3 a token."""
    assert roofline.num_parameters(BY_HAND) == 400
    assert roofline.decode_bytes(BY_HAND, rows=4, length=7) == 2 * (400 + 4 * 7 * 12)


def test_a_3b_has_its_size():
    assert roofline.num_parameters(accelerator_work.CONFIGS["3B"]) == pytest.approx(
        3.21e9, rel=0.01
    )


@pytest.mark.parametrize(
    "kind, tflops",
    [("NVIDIA H200", 989), ("NVIDIA H100 PCIe", 756), ("TPU v5 lite", 197), ("TPU v5", 459)],
)
def test_devices_are_known_by_their_kind(kind, tflops):
    assert roofline.device(kind).tflops == tflops
    assert roofline.device("cpu") is None


@pytest.mark.parametrize("case", accelerator_cases(16)[1:4], ids=lambda case: case.name)
def test_accelerator_cases_run_anywhere_with_a_tiny_model(case: AcceleratorCase):
    """On an accelerator their model is larger, nothing else."""
    work = accelerator_work.Work("tiny", case.length, case.rows, seconds=0.0)
    found = getattr(accelerator_work, case.function)(work, **case.arguments)
    rows = found["count"] / case.length
    assert rows > 0 and rows % case.rows == 0
    config = accelerator_work.CONFIGS["tiny"]
    if case.function == "training":
        frozen = case.arguments["frozen"]
        assert found["flops"] == rows * roofline.training_flops(config, 16, 16, frozen=frozen)
    elif case.function == "scoring":
        assert found["flops"] == rows * sum(roofline.forward_flops(config, 16, 0).values())
    else:
        assert found["bytes"] == found["count"] * roofline.decode_bytes(config, 1, 128 + 1)


def test_device_rows_have_the_share_of_the_peak():
    answers = [{"status": "ok", "count": 10, "wall": 2.0, "flops": 4e12}]
    row = device_row("training", answers, Device(tflops=4.0, gb_a_second=1.0))
    assert (row["each_second"], row["share"]) == (5.0, 0.5)
    read = [{"status": "ok", "count": 10, "wall": 2.0, "bytes": 4e9}]
    assert device_row("generation", read, Device(4.0, 8.0))["share"] == 0.25
    unknown = device_row("generation", read, None)
    failed = device_row("training", [{"status": "failed", "reason": "no memory"}], None)
    found = {"kind": "a device", "model": "3B", "rows": [row, unknown, failed]}
    assert cells(markdown(results([]) | {"accelerator": found}))[2:] == [
        ["training", "5", "2.0 TFLOP/s", "50.0%"],
        ["generation", "5", "2.0 GB/s", "peak unknown"],
        ["training", "failed", "no memory", ""],
    ]


def test_an_estimate_counts_what_is_computed_and_lowers_for_cuda():
    """Counted FLOPs are at least the model's: norms, softmax and rotation come on top."""
    config = accelerator_work.CONFIGS["tiny"]
    needed = estimate.model_flops(config, 32, None)
    assert 1 < estimate.counted_flops(config, 32, None) / needed < 3
    assert estimate.lowers_for_cuda(config, 32, False, rows=2)
