"""The pictures of one record: intact, destroyed, control; with the outlines of its regions."""

from medpo_cli.evaluation.page.draw import outline
from medpo_cli.evaluation.page.model import Outline, Picture
from medpo_cli.io.context import Context
from medpo_cli.schema.records import Case


def pictures_of(case: Case, context: Context) -> tuple[Picture, ...]:
    """Views of a record's images; outlines lie on the first one and on its destroyed copies.

    Raises:
        RecordError: an image or a mask cannot be used.
    """
    from medpo_cli.imaging.window import load_view

    borders = outlines_of(case, context)
    fields = ["$.image"] if not isinstance(case.image, list) else [f"$.image[{k}]" for k in range(len(case.image))]
    shown = [
        Picture("image" if k else "intact", load_view(ref, context, path), borders if k == 0 else ())
        for k, (ref, path) in enumerate(zip(case.images, fields, strict=True))
    ]
    for title, changed in (("lesion destroyed", case.corrupted), ("control", case.control)):
        if changed is not None:
            note = changed.operator if changed.route == "lesion" else changed.route
            view = load_view(changed.image, context, f"$.{title.split()[0]}.image")
            shown.append(Picture(title, view, borders, note))
    return tuple(shown)


def outlines_of(case: Case, context: Context) -> tuple[Outline, ...]:
    """The borders of a record's regions on the slice that is shown."""
    from medpo_cli.imaging.geometry import to_picture
    from medpo_cli.imaging.regions import region_mask
    from medpo_cli.imaging.window import checked_source, frame_of

    if not case.regions:
        return ()
    ref = case.images[0]
    image = checked_source(ref, context, "$.image").image
    index = frame_of(image, ref.frame)
    borders = []
    for k, region in enumerate(case.regions):
        mask = region_mask(region, image, context, ref.frame, f"$.regions[{k}]")
        borders.append(Outline(region.label, outline(to_picture(mask[:, :, index], image.affine))))
    return tuple(borders)
