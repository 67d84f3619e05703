"""Embedding with sentence-transformers: the peer of winnow's encoder.

    python encode_st.py SPEC            SPEC: a JSON object

Required: model (a directory of a sentence-transformers model), texts (file: a JSON list of strings), vectors (file to write). Optional: threads (2).

Warms up on 64 texts and prints {"ready": true, ...}; then for each line {"batch": b} on stdin encodes all texts in one call of
SentenceTransformer.encode with that batch_size (it sorts by length itself), writes the vectors as little-endian float32 to the file, and prints one JSON line:
seconds, cpu_seconds (processor time of all threads) and peak_rss, bytes. Writing is not timed.
"""

import json
import os
import resource
import sys
import time

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

import sentence_transformers
import torch
import transformers
from sentence_transformers import SentenceTransformer


def main():
    spec = {"threads": 2} | json.loads(sys.argv[1])
    torch.set_num_threads(spec["threads"])
    model = SentenceTransformer(spec["model"], device="cpu", local_files_only=True)
    with open(spec["texts"]) as file:
        texts = json.load(file)
    model.encode(texts[:64], show_progress_bar=False)
    versions = {"sentence-transformers": sentence_transformers.__version__, "torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps({"ready": True, "versions": versions, "threads": torch.get_num_threads(), "max_seq_length": model.max_seq_length}), flush=True)
    for line in sys.stdin:
        batch = json.loads(line)["batch"]
        start, cpu_start = time.perf_counter(), time.process_time()
        vectors = model.encode(texts, batch_size=batch, show_progress_bar=False)
        answer = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu_start}
        vectors.astype("<f4").tofile(spec["vectors"])
        print(json.dumps(answer | {"peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}), flush=True)


if __name__ == "__main__":
    main()
