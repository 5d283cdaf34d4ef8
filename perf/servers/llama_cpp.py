"""Serves a GGUF file with llama.cpp on a free port of this machine until it is stopped.

usage: llama_cpp.py MODEL.gguf NAME

Prints the address as midcourse takes it, `http://127.0.0.1:PORT/v1#NAME`, once the server listens.
"""

import os
import sys
import time

import xllamacpp

SLOTS = 8
CONTEXT = 2048


def main():
    path, name = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = name
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * CONTEXT
    params.n_gpu_layers = 0
    params.use_jinja = True
    params.warmup = False
    # Its threads wait for each other by spinning: as many as cores are slow when anything else runs.
    threads = max(1, (os.cpu_count() or 2) - 1)
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)
    print(f"{server.listening_address}/v1#{name}", flush=True)
    while True:
        time.sleep(60)


main()
