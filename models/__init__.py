"""Language models in Flax.

`config`, `llama` and what they import are the backbone; `convert` reads and writes Hugging Face
folders, `nnx_folder` our own; `heads` and `lora` go on it; `documents`, `packing`, `losses` and
`training` train it; `scoring`, `calibration` and `thresholds` make decisions of its outputs;
`generation` and `tokenizer` let it act.
"""
