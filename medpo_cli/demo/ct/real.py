"""The real lesions that come with the pyradiomics package: volumes, reader masks, and cases about them.

Nothing here is inserted. Side and size come from the mask alone, so a case asks only about the lesion
that the mask shows; nothing is claimed about the rest of the image.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medpo_cli.demo.ct.slices import HU_HIGH, HU_LOW
from medpo_cli.io.files import short_hash, write_atomic
from medpo_cli.io.stream import encode
from medpo_cli.schema.records import Case, End, ImageRef, MaskRef, Region, Window

FOLDER = Path(__file__).parent / "data" / "real"


@dataclass(frozen=True)
class RealLesion:
    """What is known about a volume beside its mask.

    ``finding`` is the region's label and the noun in the texts; ``sided`` is False for a crop in which the
    patient's middle does not show; ``ct`` tells whether values are HU.
    """

    name: str
    finding: str
    modality: str
    sided: bool = True

    @property
    def ct(self) -> bool:
        """Whether the values are HU."""
        return self.modality == "CT"


LESIONS = (
    RealLesion("lung1", "nodule", "CT"),
    RealLesion("lung2", "mass", "CT"),
    RealLesion("brain1", "mass", "MR"),
    RealLesion("brain2", "lesion", "MR"),
    RealLesion("breast1", "lesion", "MR", sided=False),
)


@dataclass(frozen=True)
class Facts:
    """What the mask says: the slice that shows most of it, the patient's side, largest width there in mm."""

    frame: int
    side: str | None
    size_mm: int


def load(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values [X, Y, Z], mask bool [X, Y, Z] and the affine (voxel to RAS mm) of a lesion."""
    import nibabel

    image, mask = (nibabel.load(FOLDER / f"{name}{suffix}.nii.gz") for suffix in ("", ".mask"))
    return np.asarray(image.dataobj), np.asarray(mask.dataobj) > 0, image.affine


def facts_of(values: np.ndarray, mask: np.ndarray, affine: np.ndarray, *, sided: bool) -> Facts:
    """Side by the lesion's middle against the body's (in RAS, the left is negative x), size by its widest points."""
    frame = int(mask.sum(axis=(0, 1)).argmax())
    pixels = np.argwhere(mask[:, :, frame])
    spacing = np.sqrt((affine[:3, :2] ** 2).sum(axis=0))
    corners = pixels * spacing
    width = np.sqrt(((corners[:, None] - corners[None]) ** 2).sum(axis=-1)).max() + spacing.mean()
    side = None
    if sided:
        plane = values[:, :, frame]
        body = np.argwhere(plane > plane.mean())
        middle = (body.min(axis=0) + body.max(axis=0)) / 2
        offset = affine[0, :2] @ (pixels.mean(axis=0) - middle)
        side = "left" if offset < 0 else "right"
    return Facts(frame, side, round(float(width)))


def window_of(lesion: RealLesion, plane: np.ndarray) -> Window:
    """The demo's lung window for CT; for MR the span from the 1st to the 99.5th percentile of the slice."""
    low, high = (HU_LOW, HU_HIGH) if lesion.ct else (float(value) for value in np.percentile(plane, (1, 99.5)))
    return Window(center=round((low + high) / 2, 1), width=round(high - low, 1))


def texts(lesion: RealLesion, facts: Facts) -> list[tuple[str, str, str, str]]:
    """Name, task, prompt and reference of each case; every reference follows from the mask."""
    noun, where = lesion.finding, f" on the {facts.side}" if facts.side else ""
    article = "an" if str(facts.size_mm).startswith("8") or facts.size_mm in (11, 18) else "a"
    picture = f"this {lesion.modality} slice"
    found = [
        (
            "report",
            "report",
            f"Describe the {noun} on {picture}.",
            f"There is {article} {facts.size_mm} mm {noun}{where}.",
        ),
        ("closed", "vqa-closed", f"Is there a {noun}{where or f' on {picture}'}?", f"Yes, there is a {noun}{where}."),
        ("size", "vqa-open", f"How large is the {noun}?", f"The {noun} measures {facts.size_mm} mm."),
    ]
    if facts.side:
        found.append(("side", "vqa-open", f"Which side is the {noun} on?", f"The {noun} is{where}."))
    return found


def write_real_cases(folder: Path) -> Path:
    """Write the volumes, masks and cases of all real lesions under ``folder``; always the same bytes.

    Returns:
        Path of ``real.jsonl``: case records and an end record.
    """
    lines = [encode(case) for lesion in LESIONS for case in cases_of(folder, lesion)]
    end = End(stage="demo", run=short_hash("demo", "ct-real", *lines), records=len(lines), rejected=0)
    path = folder / "real.jsonl"
    write_atomic(path, b"".join(line + b"\n" for line in [*lines, encode(end)]))
    return path


def cases_of(folder: Path, lesion: RealLesion) -> list[Case]:
    """Copy one lesion's two files and describe it."""
    values, mask, affine = load(lesion.name)
    facts = facts_of(values, mask, affine, sided=lesion.sided)
    names = {kind: f"{kind}s/{lesion.name}.nii.gz" for kind in ("volume", "mask")}
    hashes = {}
    for kind, source in (("volume", f"{lesion.name}.nii.gz"), ("mask", f"{lesion.name}.mask.nii.gz")):
        data = (FOLDER / source).read_bytes()
        hashes[kind] = hashlib.sha256(data).hexdigest()
        write_atomic(folder / names[kind], data)
    window = window_of(lesion, values[:, :, facts.frame])
    image = ImageRef(path=names["volume"], sha256=hashes["volume"], frame=facts.frame, window=window)
    region = Region(label=lesion.finding, mask=MaskRef(path=names["mask"], sha256=hashes["mask"]))
    return [
        Case(
            id=f"real-{lesion.name}-{name}",
            image=image,
            prompt=prompt,
            reference=reference,
            task=task,  # type: ignore[arg-type]
            group=f"real-{lesion.name}",
            regions=[region],
            ext={"lesion_source": "real", "size_mm": facts.size_mm} | ({"side": facts.side} if facts.side else {}),
        )
        for name, task, prompt, reference in texts(lesion, facts)
    ]
