"""The imported MiniLM embedder against sentence-transformers' own output (tests/fixtures/record_minilm.py)."""
import json

from conftest import EMBED_MODEL, ROOT


def test_cosine_to_sentence_transformers(server):
    fixture = json.loads((ROOT / "tests/fixtures/minilm_sentences.json").read_text())
    assert len(fixture["sentences"]) == 100
    worst = 1.0
    for start in range(0, 100, 20):
        batch = fixture["sentences"][start:start + 20]
        body = server.post("/v1/embeddings", {"model": EMBED_MODEL, "input": batch})[2]
        for entry, expected in zip(body["data"], fixture["vectors"][start:start + 20]):
            norm = sum(x * x for x in expected) ** 0.5
            worst = min(worst, sum(a * b for a, b in zip(entry["embedding"], expected)) / norm)
    print("worst cosine", worst)
    assert worst >= 0.999
