"""The price book: what it takes, what it refuses and in which words."""

from decimal import Decimal

import pytest
from ninesight_analytics import pricebook
from ninesight_analytics.errors import PriceBookError
from ninesight_analytics.pricebook import Per

DAY_MS = 86_400_000
GOOD = """
entries:
  - {id: old, gpu_model: ".*H100.*", purchase: on_demand, price_per_hour: "12.29", valid_to: 2025-06-01}
  - {id: new, gpu_model: ".*H100.*", purchase: on_demand, price_per_hour: "6.88", valid_from: 2025-06-01}
  - {id: any, instance: "gpu-.*", purchase: owned, price_per_hour: "1", per: instance, gpu_count: 8}
"""


def entry(**keys):
    """One entry as a document, overridden by key."""
    base = {"id": "a", "gpu_model": '".*"', "purchase": "spot", "price_per_hour": '"1.5"'} | keys
    body = ", ".join(f"{key}: {value}" for key, value in base.items() if value is not None)
    return f"entries:\n  - {{{body}}}\n"


def price(book, gpu_model="NVIDIA H100 80GB HBM3", at_ms=0, instance="x", simulated=False, per=Per.GPU):
    found = book.entry_for(per, gpu_model=gpu_model, instance=instance, simulated=simulated, at_ms=at_ms)
    return found.id if found else None


def test_prices_are_decimals_with_times():
    """A date begins at midnight UTC; the end is exclusive."""
    book = pricebook.load(GOOD)
    change = 1_748_736_000_000  # 2025-06-01T00:00Z
    assert book.entries[0].price_per_hour == Decimal("12.29")
    assert price(book, at_ms=change - 1) == "old"
    assert price(book, at_ms=change) == "new"
    assert book.changes(change - DAY_MS, change + DAY_MS) == (change,)
    assert book.changes(change, change + DAY_MS) == ()
    assert book.currency == "USD"
    assert book.prices_instances


def test_the_first_entry_that_fits_wins_and_patterns_cover_the_whole_name():
    """Letter case does not matter, a part of a name does."""
    book = pricebook.load(GOOD)
    assert price(book, "nvidia h100 pcie", at_ms=2 * 10**12) == "new"
    assert price(book, "NVIDIA A100") is None
    assert price(book, instance="gpu-7", per=Per.INSTANCE) == "any"
    assert price(book, instance="my-gpu-7", per=Per.INSTANCE) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (entry(price_per_hour="6.88"), 'entries.0.price_per_hour: must be a decimal in quotes such as "6.88", got 6.88'),
        (entry(price_per_hour='"six"'), "entries.0.price_per_hour: must be a decimal such as"),
        (entry(price_per_hour='"-1"'), "must be between 0 and 1000000, got '-1'"),
        (entry(price_per_hour='"NaN"'), "must be between 0 and 1000000, got 'NaN'"),
        (entry(price_per_hour="true"), "must be a decimal in quotes"),
        (entry(price_per_hour=None), "entries.0.price_per_hour: must be given"),
        (entry(purchase="rented"), "entries.0.purchase: input should be 'on_demand', 'spot', 'reserved' or 'owned', got 'rented'"),
        (entry(gpu_modle="x"), "entries.0.gpu_modle: there is no such key; did you mean gpu_model?"),
        (entry(gpu_model='"("'), "entries.0.gpu_model: must be a regular expression"),
        (entry(gpu_model=None), "entry 'a' must say what it prices: give gpu_model, instance or simulated"),
        (entry(per="instance", gpu_model=None, simulated="true"), "entry 'a' is priced per instance and must give instance"),
        (entry(per="instance", instance="x"), "must be matched by instance alone; drop gpu_model"),
        (entry(gpu_count='"0"'), "entries.0.gpu_count: must be above 0, got 0"),
        (entry(valid_from="2026-02-01", valid_to="2026-01-01"), "valid_to must be after valid_from"),
        (entry(valid_from="soon"), "entries.0.valid_from: must be a date such as 2026-11-09"),
        (entry(currency="euro"), "entries.0.currency"),
        (entry() + "  - {id: a, gpu_model: x, purchase: spot, price_per_hour: '1'}\n", "entries.1.id must be unique"),
        (entry() + "  - {id: b, gpu_model: x, purchase: spot, price_per_hour: '1', currency: EUR}\n", "entries.1.currency must be the same in the whole book, got 'EUR' after 'USD'"),
        (entry() + "entries: []\n", "line 3, column 1: key 'entries' is given twice"),
        ("- 1\n- 2\n", "must hold keys and values, got [1, 2]"),
        ("{}\n", "entries: must be given"),
        ("a: [\n", "line 2, column 1"),
        ("entries: []\n---\nentries: []\n", "must hold one YAML document with entries, got 2"),
        ("\n", "must hold one YAML document with entries, got 0"),
        ("a: &a [1]\nb: !!python/object:os.system {}\n", "could not determine a constructor"),
    ],
)  # fmt: skip
def test_bad_books_are_refused_in_words(text, words):
    """The key, what must hold, what was given."""
    with pytest.raises(PriceBookError) as caught:
        pricebook.load(text)
    assert words in str(caught.value)


def test_a_missing_or_oversize_file_is_named(tmp_path):
    """The path stands in the message."""
    with pytest.raises(PriceBookError, match=r"nowhere\.yaml: cannot be read: No such file"):
        pricebook.load(tmp_path / "nowhere.yaml")
    big = tmp_path / "big.yaml"
    big.write_text("#" * (1 << 20) + "#\n")
    with pytest.raises(PriceBookError, match="must hold at most 1048576 bytes"):
        pricebook.load(big)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PriceBookError, match="must be UTF-8 text, byte 0 is not"):
        pricebook.load(str(binary))


def test_anchors_cannot_blow_a_document_up():
    """Nine levels of nine would be 387 million values; nesting and self-reference end in words too."""
    levels = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
    )
    with pytest.raises(PriceBookError, match="must hold at most 100000 values"):
        pricebook.load(levels)
    with pytest.raises(PriceBookError, match="nested too deeply or refers to itself"):
        pricebook.load("a: &a [*a]\n")
    with pytest.raises(PriceBookError, match="nested too deeply or refers to itself"):
        pricebook.load("a: " + "[" * 5000 + "\n" + "]" * 5000 + "\n")


def test_the_built_in_book_prices_common_gpus_and_says_where_from():
    """Every market price carries a source; a simulated GPU has a price of its own."""
    book = pricebook.built_in()
    assert price(book, "Anything", simulated=True) == "simulated-gpu"
    for name, expected in {
        "NVIDIA H100 80GB HBM3": "aws-p5-h100",
        "NVIDIA H100 PCIe": "lambda-h100-pcie",
        "NVIDIA H100 NVL": "azure-nc40-h100-nvl",
        "NVIDIA H200": "aws-p5en-h200",
        "NVIDIA GH200 480GB": "coreweave-gh200",
        "NVIDIA B200": "aws-p6-b200",
        "NVIDIA A100 80GB PCIe": "azure-nc24-a100-80",
        "NVIDIA A100-SXM4-80GB": "aws-p4de-a100-80",
        "NVIDIA A100-SXM4-40GB": "aws-p4d-a100-40",
        "NVIDIA L4": "aws-g6-l4",
        "NVIDIA L40S": "coreweave-l40s",
        "NVIDIA A10": "lambda-a10",
    }.items():
        assert price(book, name) == expected, name
    assert price(book, "NVIDIA GB200") is None
    assert all(one.source_url.startswith("https://") or one.simulated for one in book.entries)
