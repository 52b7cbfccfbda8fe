"""The embedder that `shoal pull` converts: against its model card, and against sentence-transformers itself."""
import base64
import concurrent.futures
import json
import math
import struct

import pytest
from conftest import EMBED_MODEL, ROOT

SENTENCES = ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
# Source: the example of the model card of sentence-transformers/all-MiniLM-L6-v2.
PUBLISHED = [0.695, 0.943, 0.257]

# Recorded from the same weights by tests/fixtures/record_minilm.py.
RECORDED = json.loads((ROOT / "tests/fixtures/minilm_sentences.json").read_text())["sentences"]
DIMENSIONS = 384
LEAST_COSINE = 0.999


def embed(server, texts):
    status, _, body = server.post("/v1/embeddings", {"model": EMBED_MODEL, "input": texts})
    assert status == 200, body
    return [entry["embedding"] for entry in sorted(body["data"], key=lambda entry: entry["index"])]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


@pytest.fixture(scope="module")
def one_by_one(server):
    return [embed(server, [entry["text"]])[0] for entry in RECORDED]


def test_similarities_of_the_model_card(server):
    vectors = embed(server, SENTENCES)
    cosines = [cosine(vectors[0], other) for other in vectors[1:]]
    assert all(abs(got - wanted) < 0.002 for got, wanted in zip(cosines, PUBLISHED)), cosines


def test_equals_sentence_transformers(one_by_one):
    assert len(RECORDED) >= 100
    cosines = []
    for entry, vector in zip(RECORDED, one_by_one, strict=True):
        wanted = struct.unpack(f"<{DIMENSIONS}f", base64.b64decode(entry["vector"]))
        cosines.append((cosine(vector, wanted), entry["text"]))
    wrong = "\n".join(f"{cos:.6f} {text[:100]!r}" for cos, text in sorted(cosines) if cos < LEAST_COSINE)
    assert not wrong, f"cosine to sentence-transformers below {LEAST_COSINE}:\n{wrong}"


def test_a_batch_changes_no_vector(server, one_by_one):
    """Not to the last bit: ggml picks other kernels for more rows, which round F16 products elsewhere."""
    batch = embed(server, [entry["text"] for entry in RECORDED])
    worst, text = min((cosine(a, b), entry["text"]) for a, b, entry in zip(batch, one_by_one, RECORDED, strict=True))
    assert worst > 0.99999, f"{worst} for {text[:100]!r}"


def test_clients_that_share_a_batch_get_their_own_vectors(server, one_by_one):
    """Sixteen clients at once, one text each; what is beside a text changes it as little as a batch of one client."""
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        shared = [vectors[0] for vectors in pool.map(lambda entry: embed(server, [entry["text"]]), RECORDED)]
    worst, text = min((cosine(a, b), entry["text"]) for a, b, entry in zip(shared, one_by_one, RECORDED, strict=True))
    assert worst > 0.99999, f"{worst} for {text[:100]!r}"


def test_in_the_exact_mode_neighbours_change_no_bit(serve, models):
    server = serve("[engine]\nexact = true\n")
    texts = [entry["text"] for entry in RECORDED[:32]]
    alone = [embed(server, [text])[0] for text in texts]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        together = [vectors[0] for vectors in pool.map(lambda text: embed(server, [text]), texts)]
    assert together == alone
    assert embed(server, texts) == alone
