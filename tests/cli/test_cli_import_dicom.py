"""``medpo import dicom`` from the shell: nothing that names a person comes out anywhere."""

import gzip
import json
import warnings
from pathlib import Path

import pytest
from conftest_cli import Run
from data.imaging_files import ct, dicom
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset

SECRET, NUMBER, DATE, UID = "ZQXWORD", "48151623", "19470313", "1.2.826.77.48151623"
TEXT = {"LO": SECRET, "SH": SECRET, "PN": f"{SECRET}^J", "ST": SECRET, "LT": SECRET, "UT": SECRET, "UC": SECRET}
VALUES = TEXT | {"AE": SECRET, "CS": SECRET, "UR": SECRET, "DA": DATE, "IS": NUMBER, "UI": UID, "AS": "077Y"}
KEPT = {
    "SpecificCharacterSet", "ImageType", "SOPClassUID", "Modality", "ConversionType", "NumberOfFrames",
    "RescaleIntercept", "PhotometricInterpretation", "BurnedInAnnotation",
}  # fmt: skip


def planted(number: int, **tags: object) -> Dataset:
    """A radiograph with a secret in every tag of the dictionary that holds text, dates, codes or UIDs."""
    dataset = ct(Modality="DX", **tags)
    for tag, (kind, _, _, retired, keyword) in DicomDictionary.items():
        image = tag >> 16 in (0x0028, 0x7FE0)
        if kind in VALUES and tag >= 0x00080000 and not retired and not image and keyword not in KEPT | set(tags):
            dataset.add_new(tag, kind, VALUES[kind])
    block = dataset.private_block(0x0009, SECRET, create=True)
    block.add_new(0x01, "LO", SECRET)
    dataset.SOPInstanceUID = f"{UID}.{number}"
    dataset.file_meta.MediaStorageSOPInstanceUID = f"{UID}.{number}"
    dataset.file_meta.SourceApplicationEntityTitle = SECRET
    dataset.file_meta.PrivateInformationCreatorUID = UID
    dataset.file_meta.PrivateInformation = SECRET.encode() * 2
    dataset.preamble = SECRET.encode().ljust(128)
    return dataset


@pytest.fixture
def clinic(folder: Path) -> Path:
    """Good, damaged and refused files under names that name people."""
    place = folder / f"{SECRET}^folder" / f"{SECRET}_{NUMBER}"
    place.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dicom(place / f"{SECRET}_1.dcm", planted(1))
        dicom(place / f"{SECRET}_2.dcm", planted(2, PixelData=b"\0" * 64))
        dicom(place / f"{SECRET}_3.dcm", planted(3, BurnedInAnnotation="YES"))
        dicom(place / f"{SECRET}_4.dcm", planted(4, SOPClassUID="1.2.840.10008.5.1.4.1.1.7"))
        whole = dicom(place / f"{SECRET}_5.dcm", planted(5)).read_bytes()
    at = whole.index(b"\x28\x00\x10\x00US")
    (place / f"{SECRET}_5.dcm").write_bytes(whole[: at + 4] + SECRET[:2].encode() + whole[at + 6 :])
    (place / f"{SECRET}.txt").write_text(SECRET)
    return place.parent


def everything_written(folder: Path, clinic: Path) -> bytes:
    """Names and bytes, unpacked where packed, of all files outside the clinic's folder."""
    parts = []
    for path in sorted(folder.rglob("*")):
        if path.is_relative_to(clinic):
            continue
        parts.append(str(path.relative_to(folder)).encode())
        if path.is_file():
            data = path.read_bytes()
            parts += [data, gzip.decompress(data)] if data.startswith(b"\x1f\x8b") else [data]
    return b"\n".join(parts)


@pytest.mark.parametrize("words", [(), ("--allow-burned-in",), ("--on-bad", "fail")])
def test_nothing_that_names_a_person_comes_out(medpo: Run, clinic: Path, folder: Path, words: tuple[str, ...]) -> None:
    call = ("import", "dicom", str(clinic), "-o", "out/cases.jsonl", "--rejects", "bad.jsonl", "--key", "secret.key")
    done = medpo(*call, *words)
    assert done.returncode == (65 if "fail" in words else 3), done.stderr
    said = (done.stdout + done.stderr).encode() + everything_written(folder, clinic)
    for secret in (SECRET, NUMBER, DATE, UID, SECRET.lower()):
        assert secret.encode() not in said
    if "fail" in words:
        return
    lines = [json.loads(line) for line in (folder / "out" / "cases.jsonl").read_text().splitlines()]
    assert len(lines) == (4 if words else 2)
    assert medpo("check", "out/cases.jsonl").returncode == 0
    bad = [json.loads(line) for line in (folder / "bad.jsonl").read_text().splitlines()][:-1]
    codes = {one["line"]: one["code"] for one in bad}
    assert codes[1] == "not-dicom"
    assert codes[3] == "truncated"
    assert 6 in codes  # the broken header
    assert ({4: "burned-in", 5: "secondary-capture"}.items() <= codes.items()) is not bool(words)


def test_defaults_need_no_option(medpo: Run, clinic: Path, folder: Path) -> None:
    done = medpo("import", "dicom", str(clinic), XDG_CONFIG_HOME=str(folder / "conf"))
    assert done.returncode == 3, done.stderr
    first = json.loads(done.stdout.splitlines()[0])
    assert (folder / first["image"]["path"]).exists()
    assert first["prompt"] == "Describe the findings in this image."
    assert (folder / "conf" / "medpo" / "import.key").stat().st_mode & 0o777 == 0o600
    again = medpo("import", "dicom", str(clinic), XDG_CONFIG_HOME=str(folder / "conf"))
    assert again.stdout == done.stdout
    words = ("--view", "montage", "--shown", "4", "--slices")
    assert medpo("import", "dicom", str(clinic), *words, XDG_CONFIG_HOME=str(folder / "conf")).returncode == 3
    asked = medpo("import", "dicom", str(clinic), "--prompt", "Is there a nodule?", "--task", "vqa-closed")
    record = json.loads(asked.stdout.splitlines()[0])
    assert (record["prompt"], record["task"]) == ("Is there a nodule?", "vqa-closed")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("none",), 66),
        (("cases.jsonl",), 66),
        ((".", "-o", "cases2.jsonl"), 2),
        (("images", "-o", "out/c.jsonl", "--images", "../up"), 2),
        (("images", "-o", "out/c.jsonl", "--key", "images/key"), 78),
        (("images", "-o", "out/c.jsonl", "--key", "out/images/key"), 78),
    ],
)
def test_bad_calls(medpo: Run, folder: Path, words: tuple[str, ...], code: int) -> None:
    done = medpo("import", "dicom", *words)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_options_of_dicom_are_refused_elsewhere(medpo: Run, folder: Path) -> None:
    for words in (("--slices",), ("--view", "mip"), ("--key", "k"), ("--task", "report"), ("--allow-burned-in",)):
        assert medpo("import", "slake", "cases.jsonl", *words).returncode == 2
