"""Situated Instruction Following (SIF): a simulated text world after its rules, and its real
episode files played by the same rules.

Read in this order: houses, tasks, layout, state, rules, text, oracle, generator, world.
`SifWorld` in `adapters.sif.world` is the public face. Numbers from generated houses are simulated:
they are not results on SIF.
"""
