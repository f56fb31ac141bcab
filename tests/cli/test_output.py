"""What the command line writes to a terminal, a pipe, a file."""

import io

import pytest

from aiida_dmi.cli.output import LastingStream, words_of

from ..test_text import EVIL


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("text", EVIL)
def test_a_terminal_obeys_no_label(text, encoding):
    """Control sequences and marks of direction are written, not sent; what an encoding has not is no error."""
    buffer = io.BytesIO()
    stream = LastingStream(io.TextIOWrapper(buffer, encoding=encoding, newline=""))
    stream.write(f"label {text}\n")
    stream.flush()
    assert stream.failure is None
    shown = buffer.getvalue().decode(encoding)
    assert all(c.isprintable() or c in "\n\r\t" for c in shown)


def test_lines_columns_and_colours_are_left():
    buffer = io.StringIO()
    stream = LastingStream(buffer)
    text = "a\tb\n\x1b[31mred\x1b[0m \u00c5\n"
    assert stream.write(text) == len(text)
    assert buffer.getvalue() == text


class Full(io.StringIO):
    """A disk without room."""

    def write(self, text):
        raise OSError(28, "No space left on device")


def test_what_cannot_be_written_is_lost_and_said():
    stream = LastingStream(Full())
    for _ in range(3):
        assert stream.write("text") == 4
        stream.flush()
    assert "No space left" in str(stream.failure)


def test_a_full_disk_is_named(tmp_path):
    said = words_of(OSError(28, "No space left on device", str(tmp_path / "file")))
    assert f"{tmp_path / 'file'} cannot be written: no room left on its disk (mounted at /" in said
    assert "MB free)" in said
    assert "Errno 13" in words_of(OSError(13, "Permission denied", "x"))
