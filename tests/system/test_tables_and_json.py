import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.errors import ProfileError, RunFileError
from helpers.system import in_short, printable, read_csv, read_json, read_yaml

OURS = {"error": RunFileError, "advice": "run it again"}
COLUMNS = {"pattern": "index", "label": "flag", "score": "fraction", "loss": "number", "set": "text"}
ROWS = ["pattern,label,score,loss,set", "0,True,0.5,-3,a", "7,False,1.0,1e9,b"]


def test_a_table_is_read_with_other_columns_as_well(tmp_path):
    (tmp_path / "a.csv").write_text("\n".join(f"{row},x" for row in ROWS))
    table = read_csv(tmp_path / "a.csv", COLUMNS, **OURS)
    assert list(table) == [*COLUMNS, "x"]
    assert table["pattern"].tolist() == [0, 7]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("pattern", "muster", "has no column pattern"),
        ("7,", "0,", "pattern must hold different whole numbers"),
        ("7,", "-7,", "pattern must hold different whole numbers"),
        ("7,", "7.5,", "pattern must hold different whole numbers"),
        ("True", "yes", "label must hold True or False"),
        ("0.5", "1.5", "score must hold numbers from 0 to 1"),
        ("0.5", "", "score must hold numbers from 0 to 1"),
        ("1e9", "inf", "loss must hold finite numbers"),
        (",b", ",", "set must hold a value in each row"),
        ("7,False", "7,False,0", "cannot be read as CSV"),
        ("0,True,0.5,-3,a", '"0,True,0.5,-3,a', "cannot be read as CSV"),
        ("loss", "score", "has two columns 'score'"),
        ("pattern", "\0\0", "has no column pattern|cannot be read"),
    ],
)
def test_a_table_of_something_else_is_refused(tmp_path, old, new, reason):
    (tmp_path / "a.csv").write_text("\n".join(ROWS).replace(old, new, 1))
    with pytest.raises(RunFileError, match=rf"a\.csv: .*({reason}).*; run it again"):
        read_csv(tmp_path / "a.csv", COLUMNS, **OURS)


def test_rows_that_are_all_too_long_do_not_move_the_columns(tmp_path):
    (tmp_path / "a.csv").write_text("index,single\n3,1,0\n4,0,0\n")
    assert pd.read_csv(tmp_path / "a.csv")["single"].tolist() == [0, 0]  # what pandas would make of it
    with pytest.raises(RunFileError, match="cannot be read as CSV"):
        read_csv(tmp_path / "a.csv", {"index": "index"}, **OURS)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe{}", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"]
)
def test_what_is_no_mapping_in_json_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(RunFileError, match=r"a\.json holds no record.*; run it again"):
        read_json(tmp_path / "a.json", "record", **OURS)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz", min_size=1), inner, max_size=4),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=PLAIN)
def test_plain_values_survive_yaml(tmp_path, content):
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    assert read_yaml(tmp_path / "a.yaml", error=ProfileError, advice="mend it") == content


BOMB = "a0: &a0 [x]\n" + "".join(f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 30))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\na: 2\n", "the key a stands twice"),
        ("a: &a [*a]\n", "an alias leads back to itself"),
        ("a: &a {b: *a}\n", "an alias leads back to itself"),
        ("a: !!python/name:os.system ''\n", "the tag tag:yaml.org,2002:python/name"),
        ("a: 2021-01-01\n", "the tag tag:yaml.org,2002:timestamp"),
        ("a: !!binary aGVsbG8=\n", "the tag tag:yaml.org,2002:binary"),
        ("[" * 20_000, "more than 30 deep"),
        ("a: [", "expected the node content"),
        ("x" * 2_000_000, "more than 1048576 bytes"),
        (BOMB, "20000 values"),
    ],
)
def test_yaml_that_is_more_than_plain_values_is_refused(tmp_path, text, reason):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ProfileError, match=rf"a\.yaml is not YAML as it is read here: .*{reason}.*; mend it"):
        read_yaml(tmp_path / "a.yaml", error=ProfileError, advice="mend it")


def test_aliases_of_reasonable_size_are_read(tmp_path):
    (tmp_path / "a.yaml").write_text("a: &a {b: 1, c: [2, 3]}\nd: *a\ne: {<<: *a, b: 4}\n")
    content = read_yaml(tmp_path / "a.yaml", error=ProfileError, advice="mend it")
    assert content["d"] == content["a"] == {"b": 1, "c": [2, 3]}
    assert content["e"] == {"b": 4, "c": [2, 3]}


def test_messages_stay_on_one_line_and_say_nothing_to_a_terminal():
    assert in_short("a\n b\t\x1b[31m c") == "a b [31m c"
    assert len(in_short("x" * 10_000)) < 300
    assert in_short(MemoryError()) == "MemoryError"
    assert printable("a\x07\u202eb\ud800").encode() == b"a  b "
