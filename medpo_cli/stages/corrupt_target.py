"""What ``corrupt`` works on: which regions of a record, and their masks on its first image."""

import functools

import numpy as np

from medpo_cli.imaging import regions
from medpo_cli.imaging.image import Mask
from medpo_cli.imaging.prepared import Prepared
from medpo_cli.io.context import Context
from medpo_cli.schema.records import Case, ImageRef, Pair, Region


def normalised(label: str) -> str:
    """Label for comparison: lower case, words joined by ``_``."""
    return "_".join(label.lower().split())


def wanted_regions(record: Case) -> list[tuple[int, Region]]:
    """Regions to destroy with their index: those the edits of a pair are about, all of any other record.

    Those are the ones that its spans are tied to, else those with a span's label. A pair whose spans name no label
    is about all its regions.
    """
    numbered = list(enumerate(record.regions or []))
    if tied := {n for span in (record.spans if isinstance(record, Pair) else []) for n in span.regions or ()}:
        return [(n, region) for n, region in numbered if n in tied]
    # An edit of touching statements is labelled with all of them: ``nodule+opacity``.
    spans = record.spans if isinstance(record, Pair) else []
    labels = {normalised(label) for span in spans if span.label for label in span.label.split("+")}
    return [(n, region) for n, region in numbered if normalised(region.label) in labels] if labels else numbered


class Target:
    """One record at work: its first image and the masks of its regions, each read once."""

    def __init__(self, context: Context, record: Case, ref: ImageRef, image: Prepared) -> None:
        self.record = record
        self.ref = ref
        self.image = image
        self._context = context
        self._masks: dict[int, Mask] = {}

    def mask(self, number: int) -> Mask:
        """Mask of one region."""
        if number not in self._masks:
            region = (self.record.regions or [])[number]
            self._masks[number] = regions.region_mask(
                region, self.image.image, self._context, self.ref.frame, f"$.regions[{number}]"
            )
        return self._masks[number]

    @functools.cached_property
    def lesions(self) -> Mask:
        """All regions of the record; nothing for a record without."""
        masks = [self.mask(number) for number in range(len(self.record.regions or []))]
        return regions.union(masks) if masks else np.zeros(self.image.image.shape, bool)
