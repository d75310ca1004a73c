"""The parts of the script `bench_dp`."""
