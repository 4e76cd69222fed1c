"""Is the evidence gone, and does nothing tell? What every operator leaves of real findings, in numbers and pictures.

Run: ``python benchmarks/evidence.py [--radiographs FOLDER] [--sheets docs/images]``; about a minute. Findings:

- the five lesions of the CT demo with readers' masks (two CT, three MR), as marked and grown by 2 pixels;
- nodules inserted into real CT crops, whose exact lesion-free twin says what is truly left;
- with ``--radiographs`` (the ``data`` folder of the package pydicom-data 1.0.0) four findings on its two
  radiographs, outlined by eye with ellipses, and discs added to them.

``left`` is the share of contrast at 336 pixels, ``texture`` the roughness against the surroundings (1: alike); both
are what every record holds. Last, how often a control site is found. ``--sheets`` writes the pictures of the docs.
"""

import argparse
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw
from scipy import ndimage

from medpo_cli.demo.ct.real import LESIONS, facts_of, load, window_of
from medpo_cli.demo.ct.scenes import draw_scene
from medpo_cli.demo.ct.slices import all_slices
from medpo_cli.errors import RecordError
from medpo_cli.imaging.control import find_control
from medpo_cli.imaging.corruption import apply, key_of, parameters_of
from medpo_cli.imaging.ground import Ground
from medpo_cli.imaging.image import Array, Image, Mask, content_hash, frozen
from medpo_cli.imaging.operators import OPERATORS
from medpo_cli.imaging.regions import box_of, fraction, grown
from medpo_cli.imaging.sight import Sight, remaining
from medpo_cli.imaging.window import grey, view
from medpo_cli.schema.config import CorruptConfig
from medpo_cli.schema.records import Window

ELLIPSES = {
    "RG1_UNCR.dcm": {"mass A": (1466, 856, 88, 96), "mass B": (1456, 1174, 110, 100), "mass C": (254, 1336, 112, 124)},
    "RG3_UNCR.dcm": {"bone lesion": (858, 1118, 62, 104)},
}
"""Findings on radiographs: column, row, half width, half height in pixels of the file."""
SIDE = 336
TILE = 168


@dataclass(frozen=True, eq=False)
class Finding:
    """An image with what is marked on it; ``twin`` is the array without the finding, where that is known."""

    name: str
    image: Image
    mask: Mask
    window: Window | None
    frame: int = 0
    twin: Array | None = None


def lesions() -> Iterator[Finding]:
    """The real lesions with readers' masks."""
    for lesion in LESIONS:
        values, mask, affine = load(lesion.name)
        frame = facts_of(values, mask, affine, sided=lesion.sided).frame
        spacing = tuple(float(size) for size in np.sqrt((affine[:3, :3] ** 2).sum(axis=0)))
        image = Image(array=frozen(values.copy()), kind="nifti", affine=affine, spacing=spacing)  # type: ignore[arg-type]
        yield Finding(f"{lesion.name} {lesion.modality}", image, mask, window_of(lesion, values[:, :, frame]), frame)


def nodules(count: int) -> Iterator[Finding]:
    """Inserted nodules of the test patient with their twins."""
    for index in range(count):
        scene = draw_scene("test", 5, index)
        for side, nodule in scene.nodules.items():
            array, twin, mask = (
                np.ascontiguousarray(plane.T)[:, :, None] for plane in (scene.grey, scene.twins[side], nodule.mask)
            )
            yield Finding(f"nodule {index} {side}", Image(array=frozen(array), kind="png"), mask, None, 0, twin)


def radiographs(folder: Path) -> Iterator[Finding]:
    """Findings outlined by eye; RG1 declares a pixel size of 0, so its pixels are taken as they are."""
    import pydicom

    for name, ellipses in ELLIPSES.items():
        data = pydicom.dcmread(folder / name)
        array = np.ascontiguousarray(data.pixel_array.T)[:, :, None]
        image = Image(array=frozen(array), kind="dicom", inverted=data.PhotometricInterpretation == "MONOCHROME1")
        low, high = np.percentile(array, (1, 99))
        window = Window(center=float(low + high) / 2, width=float(high - low))
        x, y = np.ogrid[: array.shape[0], : array.shape[1]]
        for label, (column, row, wide, high) in ellipses.items():
            mask = ((x - column) / wide) ** 2 + ((y - row) / high) ** 2 <= 1
            yield Finding(f"{name[:3]} {label}", image, mask[:, :, None], window)


def discs(films: list[Finding], count: int = 10) -> Iterator[Finding]:
    """Soft-edged discs, 40 of 255 grey levels bright, added to radiographs in places without a marked finding."""
    rng = np.random.default_rng(0)
    for film in {id(film.image): film for film in films}.values():
        marked = np.any([other.mask for other in films if other.image is film.image], axis=0)
        # Not where the film is black or white: there 40 levels more could not be seen.
        levels = grey(film.image, film.image.array, film.window)
        usable = Ground(film.image).body & ~marked & (levels > 8) & (levels < 208)
        body = ndimage.binary_erosion(ndimage.binary_opening(usable[:, :, 0], iterations=3), iterations=70)
        places = np.argwhere(body)
        window = film.window
        assert window is not None
        for number in range(count):
            place = places[rng.integers(len(places))]
            x, y = np.ogrid[: body.shape[0], : body.shape[1]]
            away = np.hypot(x - place[0], y - place[1])[:, :, None]
            bump = np.clip((64 - away) / 4, 0, 1) * 40 * window.width / 255 * (-1 if film.image.inverted else 1)
            clean = film.image.array
            array = np.clip(np.rint(clean + bump), 0, 65535).astype(clean.dtype)
            image = dataclasses.replace(film.image, array=frozen(array))
            yield Finding(f"disc {number}", image, away < 64, window, 0, clean)


def destroyed(finding: Finding, operator: str, grow: int) -> tuple[Array, Mask]:
    """The array with the finding destroyed, and the region that was."""
    region = grown(finding.mask, grow, finding.mask)
    ground = Ground(finding.image, box_of(region)[2])
    symmetry = None if ground.symmetry is None else (0, ground.symmetry)
    parameters = parameters_of(operator, CorruptConfig(), finding.image, finding.window, symmetry)
    key = key_of(content_hash(finding.image), region, operator, parameters, 0)
    return apply(finding.image, key, region, operator, parameters), region


def measured(finding: Finding, operator: str, grow: int) -> tuple[float, float, float]:
    """Share of contrast left, texture ratio, and the true share where there is a twin (else NaN)."""
    array, region = destroyed(finding, operator, grow)
    sight = Sight(finding.image, region, finding.window, SIDE, finding.mask)
    look = sight.look(array)
    left = remaining(sight.look(finding.image.array), look)
    true = np.nan
    if finding.twin is not None:
        clean, before, after = (
            plane[finding.mask].astype(float).mean() for plane in (finding.twin, finding.image.array, array)
        )
        true = (after - clean) / (before - clean)
    return np.nan if left is None else left, look.texture or np.nan, true


def table(title: str, findings: list[Finding], grow: int) -> None:
    """One row for each operator: median of the size of what is left, and of the texture, with ranges."""
    print(f"\n{title}: {len(findings)} findings, regions grown by {grow}")
    print(
        f"{'operator':>17} {'left, median |share|':>21} {'range':>15} {'texture':>8} {'range':>13} {'true |share|':>13}"
    )
    for operator in OPERATORS:
        rows = []
        for finding in findings:
            try:
                rows.append(measured(finding, operator, grow))
            except RecordError:
                continue
        if not rows:
            print(f"{operator:>17} {'cannot work here':>21}")
            continue
        left, texture, true = np.array(rows).T
        size = np.nanmedian(np.abs(left))
        known = f"{np.median(np.abs(true)):13.2f}" if not np.isnan(true).any() else ""
        note = "" if len(rows) == len(findings) else f"  ({len(rows)} of {len(findings)})"
        print(
            f"{operator:>17} {size:21.2f} {np.nanmin(left):7.2f} {np.nanmax(left):7.2f} {np.median(texture):8.2f} "
            f"{texture.min():6.2f} {texture.max():6.2f} {known}{note}"
        )


def each(findings: list[Finding], grow: int) -> None:
    """The default and the paper's operator, one row a finding."""
    print(
        f"\n{'finding':>18} {'default: left':>14} {'texture':>8} {'paper: left':>12} {'texture':>8}   grown by {grow}"
    )
    for finding in findings:
        values = [measured(finding, operator, grow)[:2] for operator in ("harmonic-texture", "gaussian")]
        print(f"{finding.name:>18} {values[0][0]:14.2f} {values[0][1]:8.2f} {values[1][0]:12.2f} {values[1][1]:8.2f}")


def controls(findings: list[Finding]) -> None:
    """How often a control site is found for lesions under 5 % of the image."""
    rng = np.random.default_rng(0)
    found: dict[str, list[bool]] = {"real lesions and nodules": [], "random discs on whole CT slices": []}
    for finding in findings:
        if fraction(finding.mask) < 0.05:
            ground = Ground(finding.image, box_of(finding.mask)[2])
            found["real lesions and nodules"].append(find_control(ground, finding.mask, finding.mask, rng) is not None)
    for stack in all_slices().values():
        for plane in stack:
            image = Image(array=frozen(np.ascontiguousarray(plane.grey.T)[:, :, None]), kind="png")
            ground = Ground(image)
            radius = np.sqrt(rng.uniform(0.0005, 0.05) * plane.grey.size / np.pi)
            places = np.argwhere(plane.lung)
            row, column = places[rng.integers(len(places))]
            x, y = np.ogrid[: image.shape[0], : image.shape[1]]
            mask = ((x - column) ** 2 + (y - row) ** 2 <= radius**2)[:, :, None] & ground.body
            if mask.any():
                found["random discs on whole CT slices"].append(find_control(ground, mask, mask, rng) is not None)
    print()
    for name, placed in found.items():
        print(f"control placed for {sum(placed)} of {len(placed)} {name} under 5 % of the image")


def tile(picture: Array, box: tuple[int, int, int, int], text: str, outline: Mask | None = None) -> Pillow.Image:
    """A labelled cut of a picture ``[H, W, 3]``, with a region's border in yellow."""
    picture = picture.copy()
    if outline is not None:
        picture[outline & ~ndimage.binary_erosion(outline)] = (255, 220, 0)
    cut = Pillow.fromarray(picture[box[1] : box[3], box[0] : box[2]]).resize((TILE, TILE), Pillow.Resampling.NEAREST)
    out = Pillow.new("RGB", (TILE, TILE + 16), "white")
    out.paste(cut, (0, 16))
    ImageDraw.Draw(out).text((3, 2), text, fill="black")
    return out


def sheet(finding: Finding, grow: int, path: Path, reach: float = 2.2) -> None:
    """Clean image, region, every operator and the control with the default operator, as one picture."""

    def shown(array: Array) -> Array:
        image = Image(array=array, kind="nifti", affine=finding.image.affine, inverted=finding.image.inverted)
        return view(image, frame=finding.frame, window=finding.window)

    def outline(mask: Mask) -> Mask:
        image = Image(array=np.where(mask, 255, 0).astype(np.uint8), kind="nifti", affine=finding.image.affine)
        return view(image, frame=finding.frame)[..., 0] > 127

    clean, region = shown(finding.image.array), grown(finding.mask, grow, finding.mask)
    marked = outline(region)
    rows, columns = np.nonzero(marked)
    half = int(max(np.ptp(rows), np.ptp(columns)) / 2 * reach) + 6
    half = min(half, min(clean.shape[:2]) // 2)
    row = int(np.clip((rows.min() + rows.max()) // 2, half, clean.shape[0] - half))
    column = int(np.clip((columns.min() + columns.max()) // 2, half, clean.shape[1] - half))
    box = (column - half, row - half, column + half, row + half)
    tiles = [tile(clean, box, "clean"), tile(clean, box, f"region (grown by {grow})" if grow else "region", marked)]
    for operator in OPERATORS:
        try:
            left, texture, _ = measured(finding, operator, grow)
            array = destroyed(finding, operator, grow)[0]
            tiles.append(tile(shown(array), box, f"{operator} {left:.2f} / {texture:.2f}"))
        except RecordError as error:
            tiles.append(tile(np.full_like(clean, 235), box, f"{operator}: {error.reason}"))
    if finding.twin is not None:
        tiles.insert(2, tile(shown(finding.twin), box, "true twin"))
    whole = (0, 0, clean.shape[1], clean.shape[0])
    ground = Ground(finding.image, box_of(region)[2])
    site = find_control(ground, region, region, np.random.default_rng(0))
    tiles.append(tile(clean, whole, "whole slice, lesion", marked))
    if site is not None:
        control = Finding("", finding.image, site[0], finding.window, finding.frame)
        array = destroyed(control, "harmonic-texture", 0)[0]
        tiles.append(tile(shown(array), whole, f"control ({site[1]})", outline(site[0])))
    across = 6
    page = Pillow.new("RGB", (across * (TILE + 4), -(-len(tiles) // across) * (TILE + 20)), "white")
    for number, one in enumerate(tiles):
        page.paste(one, (number % across * (TILE + 4), number // across * (TILE + 20)))
    path.parent.mkdir(parents=True, exist_ok=True)
    page.quantize(128).save(path, optimize=True)


def main() -> None:
    """Print the tables; with ``--sheets`` write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--radiographs", type=Path)
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--nodules", type=int, default=40, help="scenes of inserted nodules")
    options = parser.parse_args()
    real, inserted = list(lesions()), list(nodules(options.nodules))
    films = list(radiographs(options.radiographs)) if options.radiographs else []
    for grow in (0, 2):
        table("real CT and MR lesions", real, grow)
        each(real, grow)
    table("inserted nodules", inserted, 0)
    for grow in (0, 8) if films else ():
        table("radiographs", films, grow)
        each(films, grow)
    if films:
        table("bright discs on radiographs", list(discs(films)), 0)
    controls(real + inserted + films)
    if options.sheets:
        for finding, grow, name in ((real[1], 2, "ct-mass"), (real[2], 2, "mr-mass"), (inserted[1], 0, "ct-nodule")):
            sheet(finding, grow, options.sheets / f"corruption-{name}.png")
        for finding in films:  # The package's pictures stay out of the documentation.
            sheet(finding, 8, Path("/tmp") / f"corruption-{finding.name.replace(' ', '-')}.png")


if __name__ == "__main__":
    main()
