"""CSV files as people have them: nothing raises, nothing is lost, and one row never costs another."""

import csv
import io
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leads.sheets import LONGEST_LINE, MOST_LINES, NoSheet, Row, Sheet

HEBREW = "\u05d3\u05e0\u05d4"


def read(content):
    sheet = Sheet(io.BytesIO(content))
    rows = list(sheet)
    assert sheet.rows == len(rows)
    return rows


def rows_of(text, encoding="utf-8"):
    return [tuple(row)[1:4] for row in read(text.encode(encoding))]


ANN = [("Ann", "+14155550100", "ann@example.com")]


@pytest.mark.parametrize("separator", list(",;\t|"))
@pytest.mark.parametrize("header", ["name,phone,email", " Name , PHONE,E-Mail ", '"Name","phone","email"'])
def test_any_separator_and_any_spelling_of_the_header_is_understood(separator, header):
    text = f"{header}\nAnn,+14155550100,ann@example.com\n".replace(",", separator)

    assert rows_of(text) == ANN


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_any_line_end_is_understood(line_end):
    text = line_end.join(["name,phone", "Ann,1", "Bob,2"])

    assert [row.name for row in read(text.encode())] == ["Ann", "Bob"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_unicode_encoding_is_understood(encoding):
    text = f"name;phone;email\r\n{HEBREW};+972541234567;\r\nJos\u00e9;+34911234567;j@example.com\r\n"

    assert rows_of(text, encoding) == [
        (HEBREW, "+972541234567", ""),
        ("Jos\u00e9", "+34911234567", "j@example.com"),
    ]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_western_files_are_understood(encoding):
    assert rows_of("name,phone\nJos\u00e9 M\u00fcller,1\n", encoding)[0][0] == "Jos\u00e9 M\u00fcller"


def test_a_single_byte_that_is_no_utf8_costs_only_itself():
    rows = read(f"name,phone\n{HEBREW},1\nJos".encode() + b"\xe9,2\n" + f"{HEBREW},3\n".encode())

    assert [row.name for row in rows] == [HEBREW, "Jos\u00e9", HEBREW]


def test_columns_are_found_by_name_and_others_are_left_alone():
    text = "id,email,company,phone,name\n1,a@b.de,X,+1,Ann\n2,,,+2\n3,,,+3,Bob,more,cells\n"

    assert rows_of(text) == [("Ann", "+1", "a@b.de"), ("", "+2", ""), ("Bob", "+3", "")]


def test_rows_are_numbered_as_a_spreadsheet_does():
    sheet = Sheet(io.BytesIO(b"name,phone\nAnn,1\n\n,,\nBob,2\n\n"))

    assert [row.number for row in sheet] == [2, 5]
    assert (sheet.rows, sheet.blank) == (2, 3)


def test_line_breaks_within_quotes_belong_to_the_row():
    text = 'name,phone,notes\n"Ann\nLee",1,"says\n""no""\n"\nBob,2,\n'

    assert [(row.number, row.name) for row in read(text.encode())] == [(2, "Ann\nLee"), (3, "Bob")]


@pytest.mark.parametrize(
    "line", ['"Ann,1', 'Ann "the boss,1', 'Ann,"1', '"Ann" Lee,1', 'Ann,1,"', '"""', '"Ann,"1"']
)
def test_a_wrong_quote_costs_no_other_row(line):
    below = [f"Lead {number},{number}" for number in range(3 * MOST_LINES)]
    rows = read("\n".join(["name,phone", line, *below]).encode())

    assert [f"{row.name},{row.phone}" for row in rows[1:]] == below
    assert rows[0].number == 2


def test_two_wrong_quotes_do_not_swallow_what_is_between_them():
    rows = read(b'name,phone\n"Ann,1\nBob,2\n"Cid,3\nDan,4\n')

    assert [row.number for row in rows] == [2, 3, 4, 5]
    assert (rows[1].name, rows[3].name) == ("Bob", "Dan")


def test_a_line_that_is_too_long_costs_no_other_row():
    rows = read(b"name,phone\n" + b"x" * (5 * LONGEST_LINE) + b",1\nBob,2\n" + b'"' + b"y" * LONGEST_LINE)

    assert [bool(row.fault) for row in rows] == [True, False, True]
    assert rows[1][:3] == (3, "Bob", "2")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe", b"a,b\n1,2\n", b"name\nAnn\n", b"\x00" * 50])
def test_a_file_without_the_columns_is_refused_by_a_sentence_and_stays_open(content):
    file = io.BytesIO(content)

    with pytest.raises(NoSheet, match="must name the columns name and phone"):
        Sheet(file)
    assert not file.closed


@settings(max_examples=400, deadline=None)
@given(
    st.binary(max_size=600) | st.text("\"'\n\r;,\tn\u00e9\x00\x85\u2028 ", max_size=200).map(str.encode),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"]),
)
@example(b'"\n' * 120, "utf-8")
@example(b"\xff\xfe\x00", "utf-16")
def test_whatever_the_bytes_are_every_line_is_accounted_for(junk, encoding):
    known = "name,phone\n"
    sheet = Sheet(io.BytesIO(known.encode(encoding) + junk))
    rows = list(sheet)

    assert all(isinstance(row, Row) for row in rows)
    assert len(rows) == sheet.rows
    # Each number is a row or a blank one.
    assert sheet.number == 1 + sheet.rows + sheet.blank
    numbers = [row.number for row in rows]
    assert numbers == sorted(set(numbers))
    assert all(2 <= number <= sheet.number for number in numbers)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_sheet_or_a_refusal(content):
    with suppress(NoSheet):
        read(content)


CELL = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]) | st.sampled_from(',;"\n'), max_size=20
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(CELL, CELL, CELL), max_size=20),
    st.sampled_from(list(",;\t")),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_a_spreadsheet_writes_is_read_back(rows, separator, encoding):
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows([("name", "phone", "email"), *rows])

    read_rows = rows_of(text.getvalue(), encoding)

    assert read_rows == [row for row in rows if any(cell.strip() for cell in row)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["x", "x,y", '"x', '"x"y', '""', "x;y", "\u00e9", '"x,"y"']), min_size=1, max_size=8
    )
)
def test_rows_between_wrong_ones_are_always_found(wrong):
    # None of the wrong lines ends with a quote that could close one further up: that would be a cell of several lines.
    lines = [line for number, each in enumerate(wrong) for line in (each, f"Lead {number},+1{number}")]
    rows = read("\n".join(["name,phone", *lines]).encode())

    assert {f"+1{number}" for number in range(len(wrong))} <= {row.phone for row in rows}
