"""The cases of a CT picture: a report, a yes/no question a side, and one open question."""

from collections.abc import Iterator

from medpo_cli.demo.cases import Drawing, Question
from medpo_cli.demo.ct import language
from medpo_cli.demo.ct.scenes import SIDES, Scene, draw_scene

FINDING = "nodule"


def drawings(split: str, images: int, seed: int) -> Iterator[Drawing]:
    """The pictures of a split, one at a time; lesion-free twins for validation and test.

    Nodules are named by the finding, followed by the side where only one of two is meant.
    """
    for index in range(images):
        yield draw(draw_scene(split, seed, index), f"ct-{split}-{index:06d}", with_twins=split != "train")


def draw(scene: Scene, name: str, *, with_twins: bool) -> Drawing:
    """One picture with masks, twins and questions."""
    keys = {side: label(scene, side) for side in scene.nodules}
    masks = {keys[side]: nodule.mask for side, nodule in scene.nodules.items()}
    twins = {keys[side]: scene.twins[side] for side in scene.nodules}
    if len(scene.nodules) > 1:
        both = [nodule.mask for nodule in scene.nodules.values()]
        masks[FINDING], twins[FINDING] = both[0] | both[1], scene.twins["none"]
    facts = {
        side: {"part": n.part, "size": n.size, "size_mm": round(n.diameter, 1)} for side, n in scene.nodules.items()
    }
    ext: dict[str, object] = {"lesion_source": "inserted", "nodules": facts}
    # Crops of one slice overlap: they are one cluster, not independent pictures.
    group = f"{scene.patient}-{scene.z:g}"
    return Drawing(name, scene.grey, masks, twins if with_twins else {}, questions(scene, keys, ext), group)


def label(scene: Scene, side: str) -> str:
    """Name of a side's mask and twin."""
    return FINDING if len(scene.nodules) == 1 else f"{FINDING}.{side}"


def questions(scene: Scene, keys: dict[str, str], ext: dict[str, object]) -> list[Question]:
    """All cases of a picture; the open question is about a nodule, so a clean picture has none."""
    nodules = scene.nodules
    found = [
        Question(
            "report",
            "report",
            language.REPORT_PROMPT,
            language.report(nodules),
            (FINDING,) if nodules else (),
            dict(ext),
        )
    ]
    for side in SIDES:
        size = nodules[side].size if side in nodules else None
        about = (keys[side],) if side in keys else ()
        prompt, answer = language.closed_question(side), language.closed_answer(side, size)
        found.append(Question(f"closed-{side}", "vqa-closed", prompt, answer, about, dict(ext)))
    if len(nodules) == 1:
        (side,) = nodules
        prompt, answer = language.SIDE_QUESTION, language.side_answer(side)
        found.append(Question("open", "vqa-open", prompt, answer, (keys[side],), dict(ext)))
    elif nodules:
        side = min(nodules, key=lambda name: nodules[name].diameter)
        prompt, answer = language.size_question(side), language.size_answer(side, nodules[side].size)
        found.append(Question("open", "vqa-open", prompt, answer, (keys[side],), dict(ext)))
    return found
