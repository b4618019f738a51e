from helpers.workbook.table_comparison import cell_differences, differences


def test_rounding_is_forgiven_in_an_unedited_file_only_and_no_more_than_that():
    def found(stored, *, with_rounding):
        again = [["family", "f1", "largest_difference"], ["a", "0.3", "1e-07"]]
        return list(cell_differences("t", [again[0], stored], again, with_rounding=with_rounding))

    assert found(["a", "0.30000000000000004", "2e-07"], with_rounding=True) == []
    assert len(found(["a", "0.30000000000000004", "2e-07"], with_rounding=False)) == 2
    assert len(found(["a", "0.300001", "2e-05"], with_rounding=True)) == 2


def test_missing_and_added_rows_and_columns_are_named():
    again = [["family", "n"], ["a", "1"], ["b", "2"]]
    assert list(cell_differences("t", again[:2], again, with_rounding=True)) == [
        "t: 1 rows are stored, 2 computed",
        "t, row 2 (b), column family: stored nothing computed b",
        "t, row 2 (b), column n: stored nothing computed 2",
    ]
    assert list(cell_differences("t", [["family", "x"]], again, with_rounding=True)) == [
        "t: the columns family, x are stored, family, n computed"
    ]


def test_thousands_of_differences_are_counted(tmp_path):
    for name, value in (("stored.csv", 1), ("again.csv", 2)):
        (tmp_path / name).write_text("n\n" + f"{value}\n" * 1000)
    lines = differences("t.csv", tmp_path / "stored.csv", tmp_path / "again.csv", with_rounding=False)
    assert len(lines) == 6
    assert lines[-1] == "t.csv: 995 more such differences"
