"""The pictures that the CT model is trained and measured on, as arrays (maintainers only)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medpo_cli.demo.ct.scenes import PIXELS, SIDES, Nodule, draw_scene

CELL = 4
COMBINATIONS = ((True, True), (True, False), (False, True), (False, False))


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures and truth, row by row.

    ``grey`` uint8 [n, 96, 96]; ``truth`` uint8 [n, 2 sides, 3 attributes] (left first: present, large,
    lower); ``cells`` uint8 [n, 24, 24], how many pixels of each 4 x 4 block are nodule (training only);
    ``texture`` uint8 [n, 2], the reader's rating or 0.
    """

    grey: np.ndarray
    truth: np.ndarray
    cells: np.ndarray
    texture: np.ndarray

    def save(self, path: Path) -> None:
        """Write all arrays."""
        np.savez(path, grey=self.grey, truth=self.truth, cells=self.cells, texture=self.texture)


def load(path: Path) -> Pictures:
    """Read what ``Pictures.save`` wrote."""
    with np.load(path, allow_pickle=False) as data:
        return Pictures(data["grey"], data["truth"], data["cells"], data["texture"])


def describe(nodules: dict[str, Nodule], shown: dict[str, bool]) -> tuple[np.ndarray, np.ndarray]:
    """Attribute table [2, 3] and textures [2] of a picture."""
    truth, texture = np.zeros((2, 3), np.uint8), np.zeros(2, np.uint8)
    for number, side in enumerate(SIDES):
        if shown[side]:
            nodule = nodules[side]
            truth[number] = 1, nodule.size == "large", nodule.part == "lower"
            texture[number] = nodule.texture
    return truth, texture


def training_pictures(scenes: int, seed: int) -> Pictures:
    """Four pictures a scene: both nodules, each alone, none. Everything else in them is equal."""
    blocks = PIXELS // CELL
    count = scenes * len(COMBINATIONS)
    grey = np.empty((count, PIXELS, PIXELS), np.uint8)
    cells = np.zeros((count, blocks, blocks), np.uint8)
    truth, texture = np.zeros((count, 2, 3), np.uint8), np.zeros((count, 2), np.uint8)
    for index in range(scenes):
        scene = draw_scene("train", seed, index, present=dict.fromkeys(SIDES, True))
        pictures = (scene.grey, scene.twins["right"], scene.twins["left"], scene.twins["none"])
        for number, (combination, picture) in enumerate(zip(COMBINATIONS, pictures, strict=True)):
            row = index * len(COMBINATIONS) + number
            shown = dict(zip(SIDES, combination, strict=True))
            grey[row] = picture
            truth[row], texture[row] = describe(scene.nodules, shown)
            for side in SIDES:
                if shown[side]:
                    mask = scene.nodules[side].mask
                    cells[row] += mask.reshape(blocks, CELL, blocks, CELL).sum(axis=(1, 3), dtype=np.uint8)
    return Pictures(grey, truth, np.minimum(cells, CELL**2), texture)


def held_out_pictures(split: str, count: int, seed: int) -> Pictures:
    """``count`` pictures of ``validation`` or ``test`` as `write_cases` makes them."""
    grey = np.empty((count, PIXELS, PIXELS), np.uint8)
    truth, texture = np.zeros((count, 2, 3), np.uint8), np.zeros((count, 2), np.uint8)
    for index in range(count):
        scene = draw_scene(split, seed, index)
        grey[index] = scene.grey
        shown = {side: side in scene.nodules for side in SIDES}
        truth[index], texture[index] = describe(scene.nodules, shown)
    return Pictures(grey, truth, np.zeros((count, 24, 24), np.uint8), texture)
