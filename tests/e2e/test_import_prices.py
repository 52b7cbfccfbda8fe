"""tools/import_prices on data made up here; and the file that is in the tree."""
import json
import subprocess
import sys
import tomllib
import zipfile

import pytest
from conftest import ROOT

TOOL = (sys.executable, ROOT / "tools" / "import_prices")
SHIPPED = ROOT / "src" / "shoal" / "ledger" / "prices.toml"
TIERED = {"input_mtok": {"base": 1, "tiers": [{"start": 200000, "price": 2}]}, "output_mtok": 3.25,
          "cache_read_mtok": 0.1}


def model(name, prices, match=None, **more):
    return {"id": name, "match": match or {"equals": name}, "prices": prices, **more}


def flat(price):
    return {"input_mtok": price, "output_mtok": 2 * price}


def since(date, prices):
    return {"constraint": {"start_date": date}, "prices": prices}


def data(**models):
    """data.json with these models of OpenAI and, under `anthropic`, `deepseek` and so on, of others."""
    names = ("openai", "anthropic", "google", "groq", "mistral", "together", "openrouter", "deepseek")
    return [{"id": name, "pricing_urls": [f"https://{name}.example"], "models": models.get(name, [])} for name in names]


@pytest.fixture(name="run")
def fixture_run(tmp_path):
    def run(providers, date="2026-06-01", *options):
        source, output = tmp_path / "data.json", tmp_path / "prices.toml"
        source.write_text(json.dumps(providers))
        done = subprocess.run([*TOOL, source, "--version", "9.9", "--date", date, "--output", output, *options],
                              capture_output=True, text=True, check=True)
        rows = {}
        for row in tomllib.loads(output.read_text()).get("price", []):
            rows.setdefault(row["model"], []).append(row)
        return rows, done.stderr
    return run


def prices(rows):
    return [(row["from"], row["input_usd"]) for row in rows]


def test_a_row_says_what_the_data_says(run):
    rows, _ = run(data(openai=[model("gpt-5", TIERED)]))
    assert rows == {"gpt-5": [{
        "provider": "openai", "model": "gpt-5", "from": "1970-01-01", "input_usd": "1", "cache_read_usd": "0.1",
        "output_usd": "3.25", "above_prompt_tokens": 200000, "above_input_usd": "2", "above_cache_read_usd": "0.1",
        "above_output_usd": "3.25", "image_tokens": 0, "source": "https://openai.example", "checked": "2026-06-01"}]}


def test_names_are_exact_or_numbered(run):
    either = {"or": [{"starts_with": "claude-opus-4-5"}, {"starts_with": "claude-opus-4.5"},
                     {"equals": "claude-opus-4-5-x"}, {"regex": r"^claude-opus-4-5[-@]\d{8}$"}, {"contains": "opus"}]}
    rows, told = run(data(anthropic=[model("claude-opus-4-5", flat(1), either),
                                     model("claude-opus-4-6", flat(1), deprecated=True)]))
    assert sorted(rows) == ["claude-opus-4-5", "claude-opus-4-5-20*", "claude-opus-4-5-x"]
    assert "'opus' are left out" in told


def test_what_a_row_cannot_say_is_left_out_and_told(run):
    two_tiers = {"start": 1, "price": 2}, {"start": 5, "price": 3}
    rows, told = run(data(openai=[
        model("gpt-5", {"input_mtok": {"base": 1, "tiers": two_tiers}, "output_mtok": 1}),
        model("gpt-5.1", {"input_mtok": 0.0000001, "output_mtok": 1}),
        model("gpt-5.2", {"input_mtok": 1}),
        model("gpt-5.3", {**flat(1), "output_image_mtok": 9}),
        model("gpt-5.4", {**flat(1), "web_searches_kcount": 9}),
        model("text-embedding-3", flat(1))]))
    assert list(rows) == ["gpt-5.4"]
    for reason in ("gpt-5: left out, input_mtok has 2 tiers", "gpt-5.1: left out, a price has more than 6 digits",
                   "gpt-5.2: left out, it has no price for output",
                   "gpt-5.3: left out, it has a price for output_image_mtok", "openai: 1 models"):
        assert reason in told


def test_a_price_by_the_hour_is_the_dearest(run):
    by_hour = [{"prices": flat(1)}, since("2026-02-01", flat(2)),
               {"constraint": {"start_time": "01:00:00Z", "end_time": "04:00:00Z"}, "prices": flat(3)}]
    rows, told = run(data(deepseek=[model("deepseek-v4-flash", by_hour)]))
    assert prices(rows["deepseek-v4-flash"]) == [("2026-02-01", "3")]
    assert "depends on the hour" in told


def test_what_held_before_stays(run):
    run(data(openai=[model("gpt-5", flat(1)), model("gpt-6-sol", flat(1)), model("gpt-7", flat(1)),
                     model("gpt-8", [{"prices": flat(1)}, since("2026-07-01", flat(9))]), model("gpt-9", flat(1))]))
    later = data(openai=[
        model("gpt-5", flat(1)),  # no change
        model("gpt-6-sol", flat(2)),  # a change without a date
        model("gpt-7", [{"prices": flat(1)}, since("2026-06-20", flat(2)), since("2026-09-01", flat(3))]),
        model("gpt-8", flat(1))])  # what was announced did not come; and gpt-9 is gone
    expected = {"gpt-5": [("1970-01-01", "1")],
                "gpt-6-sol": [("1970-01-01", "1"), ("2026-08-01", "2")],
                "gpt-7": [("1970-01-01", "1"), ("2026-06-20", "2"), ("2026-09-01", "3")],
                "gpt-8": [("1970-01-01", "1")],
                "gpt-9": [("1970-01-01", "1")]}
    for _ in range(2):  # the same again changes nothing
        rows, _ = run(later, "2026-08-01")
        assert {name: prices(group) for name, group in rows.items()} == expected
    assert rows["gpt-5"][0]["checked"] == "2026-08-01"
    assert rows["gpt-9"][0]["checked"] == "2026-06-01"
    rows, _ = run(later, "2026-08-01", "--fresh")
    assert prices(rows["gpt-6-sol"]) == [("1970-01-01", "2")]
    assert "gpt-9" not in rows


def test_a_wheel_is_read_without_running_it(tmp_path):
    wheel, output = tmp_path / "genai_prices-1.2.3-py3-none-any.whl", tmp_path / "prices.toml"
    others = "".join(f"Provider(id='{name}', pricing_urls=['https://x.example'], models=[])," for name in
                     ("anthropic", "google", "groq", "mistral", "together", "openrouter", "deepseek"))
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("genai_prices-1.2.3.dist-info/METADATA", "Name: genai-prices\nVersion: 1.2.3\n")
        archive.writestr("genai_prices/data.py", (
            "raise SystemExit('this was run')\n"
            "providers: list[Provider] = [Provider(id='openai', pricing_urls=['https://y.example'], models=[ModelInfo("
            "id='gpt-5', match=ClauseOr(or_=[ClauseEquals(equals='gpt-5')]), prices=["
            "ConditionalPrice(prices=ModelPrice(output_mtok=Decimal('2'),"
            "input_mtok=TieredPrices(base=Decimal('0.25'), tiers=[Tier(start=9, price=Decimal('1'))]))),"
            "ConditionalPrice(constraint=StartDateConstraint(start_date=datetime.date(2026, 9, 1)),"
            f"prices=ModelPrice(input_mtok=Decimal('3'), output_mtok=Decimal('4')))])]),{others}]\n"))
    subprocess.run([*TOOL, wheel, "--date", "2026-10-01", "--output", output], check=True, capture_output=True)
    assert "genai-prices 1.2.3" in output.read_text()
    first, second = tomllib.loads(output.read_text())["price"]
    assert (first["input_usd"], first["above_prompt_tokens"], first["above_input_usd"]) == ("0.25", 9, "1")
    assert (second["from"], second["input_usd"], second["output_usd"]) == ("2026-09-01", "3", "4")


def test_the_shipped_file_has_every_row_once_with_its_source():
    rows = tomllib.loads(SHIPPED.read_text())["price"]
    assert len({(row["provider"], row["model"], row["from"]) for row in rows}) == len(rows)
    keys = ["provider", "model", "from", "image_tokens", "source", "checked"]
    assert all([key for key in row if key in keys] == keys for row in rows)
