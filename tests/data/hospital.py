"""A folder of records and images in which every text, name and tag is a planted word, sound ones and broken ones."""

import json
import shutil
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from data.imaging_files import ct, dicom, nifti
from data.planted import Planted
from PIL import Image, PngImagePlugin
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset

from medpo_cli.demo.cases import write_cases

END = {"schema": "medpo.end/1", "stage": "demo", "run": "r", "records": 0, "rejected": 0}
TEXT = {"LO", "SH", "PN", "ST", "LT", "UT", "UC", "AE", "CS", "UR"}
BYTES = {"OB", "UN"}
KEPT = {
    "SpecificCharacterSet", "ImageType", "SOPClassUID", "Modality", "ConversionType", "NumberOfFrames",
    "RescaleIntercept", "PhotometricInterpretation", "BurnedInAnnotation",
}  # fmt: skip
"""What decides how an image is read; and group 0028 at large."""


def header(planted: Planted, place: str, **tags: Any) -> Dataset:
    """A radiograph with a word in every tag that holds text, in private ones, inside sequences, before the file."""
    dataset = ct(np.arange(4096, dtype=np.uint16).reshape(64, 64), Modality="DX", **tags)
    word = planted(f"{place}: tags")
    fill(dataset, word, KEPT | set(tags))
    nested, deeper = Dataset(), Dataset()
    fill(nested, planted(f"{place}: sequence"), KEPT)
    fill(deeper, planted(f"{place}: sequence in a sequence"), KEPT)
    nested.RequestAttributesSequence = [deeper]
    for keyword in ("ReferencedPatientSequence", "RequestAttributesSequence", "OtherPatientIDsSequence"):
        setattr(dataset, keyword, [nested])
    private = planted(f"{place}: private")
    block = dataset.private_block(0x0009, private, create=True)
    for number, kind in enumerate(("LO", "UT", "UN"), start=1):
        block.add_new(number, kind, private if kind != "UN" else private.encode())
    meta = planted(f"{place}: file meta")
    dataset.file_meta.SourceApplicationEntityTitle = meta
    dataset.file_meta.PrivateInformationCreatorUID = "1.2.3"
    dataset.file_meta.PrivateInformation = meta.encode()
    dataset.preamble = planted(f"{place}: preamble").encode().ljust(128)
    return dataset


def fill(dataset: Dataset, word: str, kept: set[str]) -> None:
    """Put ``word`` into every tag of the dictionary that can hold it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tag, (kind, _, _, retired, keyword) in DicomDictionary.items():
            image = tag >> 16 in (0x0028, 0x5400, 0x7FE0) or tag < 0x00080000
            if retired or image or keyword in kept or kind not in TEXT | BYTES:
                continue
            dataset.add_new(tag, kind, word if kind in TEXT else word.encode())


def write_dicom(path: Path, planted: Planted, place: str, **tags: Any) -> Path:
    """``header`` as a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dicom(path, header(planted, place, **tags))


class Hospital:
    """Writes the folder; ``planted`` knows where each word stands.

    Attributes:
        folder: where commands are run; a folder above it bears a word too.
        clinic: a folder of DICOM files outside of it.
    """

    def __init__(self, base: Path) -> None:
        self.planted = Planted()
        self.above = base / self.planted("folder above")
        self.folder = self.above / "work"
        self.folder.mkdir(parents=True)
        self.clinic = base / self.planted("clinic's folder")
        self.clinic.mkdir()
        write_cases(self.folder, split="validation", images=2, seed=3)
        self.sound = [self._plant(record) for record in self._demo()]
        self._images()
        self._clinic()

    def _demo(self) -> list[dict[str, Any]]:
        lines = (self.folder / "validation.jsonl").read_text().splitlines()[:-1]
        (self.folder / "validation.jsonl").unlink()
        return [json.loads(line) for line in lines]

    def _plant(self, record: dict[str, Any]) -> dict[str, Any]:
        """A sound case with words in its texts, its names and its extra fields."""
        planted = self.planted
        name = f"images/{planted('image name')}.png"
        shutil.copy(self.folder / record["image"]["path"], self.folder / name)
        ext = record.get("ext", {}) | {
            planted("ext key"): planted("ext value"),
            "organ": f"{planted('ext organ')}, a name",
        }
        regions = record.get("regions")
        if regions and record["task"] == "report":
            regions = [region | {"label": planted("region label")} for region in regions]
        return record | {
            "image": {"path": name, "sha256": record["image"]["sha256"]},
            "prompt": f"{record['prompt']} {planted('prompt')}",
            "reference": f"{record['reference']} {planted('reference')}.",
            "group": planted("group"),
            "ext": ext,
        } | ({"regions": regions} if regions else {})  # fmt: skip

    def _images(self) -> None:
        """Images and masks that cannot be read, full of words; their names say nothing."""
        folder, planted = self.folder / "images", self.planted
        info = PngImagePlugin.PngInfo()
        info.add_text("Comment", planted("text chunk of a PNG"))
        Image.fromarray(np.zeros((32, 32), np.uint8)).save(folder / "cut.png", pnginfo=info)
        whole = (folder / "cut.png").read_bytes()
        (folder / "cut.png").write_bytes(whole[:-20])
        (folder / "words.png").write_text(planted("text instead of an image") * 50)
        written = bytearray(nifti(folder / "cut.nii", np.zeros((32, 32, 1), np.int16), np.eye(4)).read_bytes())
        for at, place in ((148, "descrip"), (228, "aux_file"), (328, "intent_name")):
            struct.pack_into("<12s", written, at, planted(f"NIfTI {place}").encode())
        (folder / "sound.nii").write_bytes(written)
        (folder / "cut.nii").write_bytes(written[:-100])
        write_dicom(folder / "sound.dcm", planted, "sound DICOM")
        cut = write_dicom(folder / "cut.dcm", planted, "cut DICOM")
        cut.write_bytes(cut.read_bytes()[:-1000])
        write_dicom(folder / "tags.dcm", planted, "DICOM with bad tags", Rows=0, WindowCenter=None)
        outside = self.above / f"{planted('name outside')}.png"
        shutil.copy(folder / "words.png", outside)
        nifti(self.folder / "masks" / f"{planted('name of a mask')}.nii.gz", np.ones((3, 3, 1), np.uint8), np.eye(4))

    def _clinic(self) -> None:
        """What ``import dicom`` meets: sound, cut, refused, and no DICOM at all, in folders that name people."""
        planted = self.planted
        place = self.clinic / planted("folder in the clinic")
        place.mkdir()
        for number, tags in enumerate(
            ({}, {"BurnedInAnnotation": "YES"}, {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"})
        ):
            write_dicom(place / f"{planted('file in the clinic')}.dcm", planted, f"clinic {number}", **tags)
        cut = write_dicom(place / f"{planted('cut file in the clinic')}.dcm", planted, "clinic, cut")
        cut.write_bytes(cut.read_bytes()[:-5000])
        (place / f"{planted('no DICOM in the clinic')}.txt").write_text(planted("text in the clinic"))

    # --- records that cannot be used ----------------------------------------------------------

    def broken(self, base: dict[str, Any], sides: tuple[str, ...] = ()) -> list[bytes]:
        """Lines that every stage has to refuse, made from a sound record; ``sides`` name more text fields."""
        lines = [json.dumps(base | {"id": f"broken-{n}"} | change) for n, change in enumerate(self._changes(base))]
        for field in ("prompt", "reference", *sides):
            lines += [json.dumps(base | {"id": f"list-{field}", field: [self.planted(f"broken: {field} in a list")]})]
            lines += [json.dumps(base | {"id": f"number-{field}", field: 7, "group": self.planted("broken: group")})]
        twice = json.dumps(base | {"id": "twice"})[:-1] + f', "prompt": "{self.planted("broken: twice")}"}}'
        cut = json.dumps(base | {"id": "cut", "prompt": self.planted("broken: cut")})[:-9]
        surrogate = json.dumps(base | {"id": "surrogate", "prompt": f"\ud800{self.planted('broken: surrogate')}"})
        raw = json.dumps(base | {"id": "raw", "prompt": self.planted("broken: not UTF-8")}).encode()
        lines += [self.planted("broken: no JSON"), twice, cut, surrogate]
        return [*(line.encode() for line in lines), raw.replace(b"broken", b"\xff\xfe").replace(b'"raw"', b'"\xff"')]

    def _changes(self, base: dict[str, Any]) -> list[dict[str, Any]]:
        """What is wrong in one field."""
        planted = self.planted
        box = {"label": planted("broken: label"), "box": [1, 1, 9, 9]}
        mask = {"label": planted("broken: label of a mask"), "mask": {"path": f"masks/{planted('broken: mask')}.png"}}
        small = next((self.folder / "masks").glob("ZQX*"))
        damaged = ("cut.png", "words.png", "cut.nii", "cut.dcm", "tags.dcm")
        return [
            {"schema": planted("broken: schema")},
            {"task": planted("broken: task")},
            {planted("broken: key"): 1},
            {"id": f"{planted('broken: id')} {planted('broken: id')}"},
            {"image": planted("broken: image")},
            {"image": {"path": planted("broken: long path") * 100}},
            {"image": {"path": "images/x.png", planted("broken: key in image"): 1}},
            {"image": {"path": "images/x.png", "sha256": planted("broken: sha256")}},
            {"image": {"path": f"images/{planted('broken: no file')}.png"}},
            {"image": {"path": f"../{planted('broken: outside')}.png"}},
            {"image": {"path": f"/{planted('broken: absolute')}/x.png"}},
            {"image": {"path": f"http://{planted('broken: address')}/x.png"}},
            {"image": base["image"] | {"sha256": "0" * 64}, "prompt": planted("broken: prompt of another image")},
            *({"image": {"path": f"images/{name}"}} for name in damaged),
            {"regions": [box | {"box": [9, 9, 1, 1]}]},
            {"regions": [box | {"box": [10**6, 10**6, 10**6 + 9, 10**6 + 9]}]},
            {"regions": [box | {"source": planted("broken: source") + " "}]},
            {"regions": [mask]},
            {"regions": [mask | {"mask": {"path": str(small.relative_to(self.folder))}}]},
            {"regions": [{"label": planted("broken: label of words"), "mask": {"path": "images/words.png"}}]},
            {"prompt": planted("broken: long prompt") * 20000},
            {"prompt": f"<image> {planted('broken: control token')}"},
            {"ext": {"align": {planted("broken: key of align"): planted("broken: value of align")}}},
            {"ext": {"twins": {"nodule": f"../{planted('broken: twin')}.png"}}},
            {"ext": {"a": _nest(planted("broken: deep"))}},
        ]  # fmt: skip

    def write(self, name: str, sound: list[dict[str, Any]], broken: list[bytes] = []) -> Path:  # noqa: B006
        """A file of records: the sound ones, the broken ones, an end record."""
        lines = [json.dumps(record, ensure_ascii=False).encode() for record in sound]
        path = self.folder / name
        path.write_bytes(b"".join(line + b"\n" for line in [*lines, *broken, json.dumps(END).encode()]))
        return path


def _nest(word: str) -> Any:
    value: Any = word
    for _ in range(100):
        value = {word: value}
    return value
