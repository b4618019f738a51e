"""Tables as other programs write them; the names of repositories say whose complaint each is."""

import codecs
import csv
import io
import math
import string

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.errors import LabelsError
from helpers.system import flags, numbers, read_any_csv, without_zero_decimals

KNOWN = ("index", "event_id", "single")
PLAIN = "index,single,note\n0,1,a\n3,0,b\n"
VALUES = st.text(string.ascii_letters + string.digits + ',;|" .-äöüß', max_size=9)


def read(folder, content):
    path = folder / "some.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_any_csv(path, KNOWN, error=LabelsError, advice="save it as CSV")


TABLE = pd.DataFrame({"index": [0, 3], "single": [1, 0], "note": ["a", "b"]})
WRITTEN = {
    "plain": PLAIN,
    "semicolons and BOM, Excel in a German Windows": "\ufeff" + PLAIN.replace(",", ";").replace("\n", "\r\n"),
    "tabs": PLAIN.replace(",", "\t"),
    "bars": PLAIN.replace(",", "|"),
    "spaces": PLAIN.replace(",", "  "),
    "sep= line, pandas #40201": "sep=;\r\n" + PLAIN.replace(",", ";"),
    "sep= line with quotes": '"sep=\t"\n' + PLAIN.replace(",", "\t"),
    "old Mac": PLAIN.replace("\n", "\r"),
    "UTF-16, Excel's Unicode Text, Unstructured-IO/unstructured #4443": PLAIN.replace(",", "\t").encode("utf-16"),
    "UTF-16, big end first": codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"),
    "UTF-16 without a mark": PLAIN.encode("utf-16-le"),
    "a comma at the end of every line, dataculturegroup/DataBasic #176": PLAIN.replace("\n", ",\n"),
    "empty columns, OpenDataRepository/data-publisher #84": PLAIN.replace("\n", ",,,\n"),
    "empty columns in the rows alone": "index,single,note\n0,1,a,,\n3,0,b\n",
    "empty rows, planetfederal/geoserver-exts #13": "\n,,\n" + PLAIN.replace("0,1", "\n,,\n0,1") + ",,,\n\n,,,\n",
    "quotes, R's write.csv": '"index","single","note"\n"0","1","a"\n"3","0","b"\n',
    "comment sign before the names, numpy.savetxt": "# " + PLAIN.replace(",", " "),
    "comment sign before the names, with commas": "#" + PLAIN,
    "pandas without its index": TABLE.to_csv(index=False),
}


@pytest.mark.parametrize("program", WRITTEN)
def test_what_another_program_writes_is_the_same_table(tmp_path, program):
    table = read(tmp_path, WRITTEN[program])
    assert table.to_dict("list") == {"index": ["0", "3"], "single": ["1", "0"], "note": ["a", "b"]}


def test_index_of_pandas_is_a_column_without_a_name(tmp_path):
    table = read(tmp_path, TABLE.to_csv())
    assert list(table) == ["", "index", "single", "note"]
    assert table["index"].tolist() == ["0", "3"]


def test_letters_of_a_code_page_harm_no_other_column(tmp_path):
    """pandas #26448; a code page is not known, so its letters may be wrong, and numbers are right."""
    table = read(tmp_path, "index,single,Bemerkung\n0,1,schön\n3,0,größer\n".encode("latin-1"))
    assert table["Bemerkung"].tolist() == ["schön", "größer"]
    assert table["index"].tolist() == ["0", "3"]


def test_lines_are_those_of_the_file(tmp_path):
    table = read(tmp_path, 'sep=;\n\nindex;single\n;\n0;1\n3;"two\nlines"\n\n4;0\n')
    assert table.index.tolist() == [5, 7, 9]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("index,single\n3,1,0\n4,0,0\n", "line 2 has 3 values for 2 columns"),
        ('"index" "single"\n"1" 0 1\n', "line 2 has 3 values for 2 columns"),
        ("index,single,single\n0,1,0\n", "has two columns 'single'"),
        ('index,single\n0,"1\n', "cannot be read as CSV"),
        (b"PK\x03\x04" + bytes(30), "the workbook of a table program; save the sheet as CSV"),
        (b"\xd0\xcf\x11\xe0" + bytes(30), "the workbook of a table program"),
        (b"\xff\xfe0", "cannot be read as CSV"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content, message):
    """R's write.table with row names; .xlsx given for .csv: python-evtx #93."""
    with pytest.raises(LabelsError, match=rf"some\.csv: .*{message}.*save it as CSV"):
        read(tmp_path, content)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(VALUES.filter(str.strip), VALUES), min_size=1, max_size=5),
    separator=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    more=st.integers(0, 3),
)
def test_any_table_comes_back(tmp_path, rows, separator, encoding, end, more):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=separator * more + end)
    writer.writerows([("index", "single"), *rows])
    table = read(tmp_path, (text.getvalue() + end).encode(encoding))
    empty = ("", "NA", "NaN", "nan", "NULL", "null", "None")
    wanted = [[None if value.strip() in empty else value.strip() for value in row] for row in rows]
    assert table.to_numpy().tolist() == wanted


@pytest.mark.parametrize(
    ("text", "number"),
    [("3", 3), ("3.0", 3), ("3,0", 3), ("3,00", 3), ("-1", -1), ("3.000000000000000000e+00", 3), ("0,5", 0.5)]
    + [(text, None) for text in ("1,000", "1.000", "12.345.678", "1,000.0", "drei", "TRUE", None)],
)
def test_numbers_of_any_program(text, number):
    (found,) = numbers(pd.Series([text], dtype=object))
    assert found == number if number is not None else math.isnan(found)


@pytest.mark.parametrize(
    ("text", "flag"),
    [(text, 1) for text in ("1", "1.0", "1,0", "TRUE", "True", "true", "yes", "Y", "T", "WAHR", "VRAI")]
    + [(text, 0) for text in ("0", "0.0", "0,0", "FALSE", "no", "FALSCH", "FAUX", "FALSO")]
    + [(text, None) for text in ("2", "0.5", "-1", "single", "01", "1e0", None)],
)
def test_flags_of_any_program(text, flag):
    (found,) = flags(pd.Series([text], dtype=object))
    assert found == flag if flag is not None else math.isnan(found)


@given(st.integers(0, 2**63 - 1), st.sampled_from(["", ".0", ",0", ".00"]))
def test_whole_numbers_keep_every_digit(number, decimals):
    assert without_zero_decimals(pd.Series([f"{number}{decimals}", None])).tolist() == [str(number), None]


def test_a_table_of_numpy_is_read(tmp_path):
    stream = io.BytesIO()
    np.savetxt(stream, [[0, 1], [3, 0]], header="index single")
    table = read(tmp_path, stream.getvalue())
    assert numbers(table["index"]).tolist() == [0, 3]
