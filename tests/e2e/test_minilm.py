"""The embedder that `shoal pull` converts, against the similarities that its model card states."""
from conftest import EMBED_MODEL

SENTENCES = ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
# Source: the example of the model card of sentence-transformers/all-MiniLM-L6-v2.
PUBLISHED = [0.695, 0.943, 0.257]


def test_similarities_of_the_model_card(server):
    body = server.post("/v1/embeddings", {"model": EMBED_MODEL, "input": SENTENCES})[2]
    vectors = [entry["embedding"] for entry in body["data"]]
    cosines = [sum(a * b for a, b in zip(vectors[0], other)) for other in vectors[1:]]
    assert all(abs(got - wanted) < 0.002 for got, wanted in zip(cosines, PUBLISHED)), cosines
