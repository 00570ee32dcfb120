from pathlib import Path

from cardioseg.core import checksums


def test_sha256_of_a_known_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")  # the example of FIPS 180-2
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert checksums.sha256([tmp_path / "a"]) == {str(tmp_path / "a"): known}
