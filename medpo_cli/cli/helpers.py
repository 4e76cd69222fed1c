"""The small commands beside the stages."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from medpo_cli.cli import recipe

_HELPERS = "Helpers"


def register(app: typer.Typer) -> None:
    """Add the helper commands."""
    app.command("init", rich_help_panel=_HELPERS)(init)
    app.command("demo", rich_help_panel=_HELPERS)(demo)
    app.command("import", rich_help_panel=_HELPERS)(import_)
    app.command("export", rich_help_panel=_HELPERS)(export)
    app.command("merge", rich_help_panel=_HELPERS)(merge)
    app.command("check", rich_help_panel=_HELPERS)(check)
    app.command("show", rich_help_panel=_HELPERS)(show)
    app.command("schema", rich_help_panel=_HELPERS)(schema)
    app.command("doctor", rich_help_panel=_HELPERS)(doctor)
    app.add_typer(recipe.group, name="recipe", rich_help_panel=_HELPERS)


def init(
    output: Annotated[Path, typer.Option("--output", "-o", help="the file")] = Path("medpo.toml"),
    model: Annotated[str, typer.Option(help="local image-text model folder")] = "",
    cases: Annotated[str, typer.Option(help="your cases (default: cases.jsonl)")] = "",
    recipe_name: Annotated[str, typer.Option("--recipe", help="take over the settings of a recipe")] = "",
    everything: Annotated[bool, typer.Option("--all", help="show every setting, not only the usual ones")] = False,
    force: Annotated[bool, typer.Option("--force", help="replace an existing file")] = False,
) -> None:
    """Write medpo.toml, commented, for your own model and cases."""
    from medpo_cli.cli import init as command
    from medpo_cli.cli.stage import plain

    plain("init", lambda: command.run(output, model, cases, recipe_name, everything=everything, force=force))


def import_(
    form: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="pairs: fire-mpo, rrpo, rlhf-v, mmedpo, trl, llama-factory, ms-swift; "
            "cases: vqa-rad, slake, iu-xray, llava, dicom, and probes (paired questions made of medpo's own reports)",
        ),
    ],
    file: Annotated[Path, typer.Argument(help="JSON Lines, or one JSON array; dicom: a folder; probes: cases")],
    output: Annotated[str, typer.Option("--output", "-o", help="write records here instead of standard output")] = "-",
    images: Annotated[
        str, typer.Option(help="folder of the images, relative to the file (dicom: made beside the output)")
    ] = "",
    rejects: Annotated[Path | None, typer.Option(help="file for reject records")] = None,
    on_bad: Annotated[Literal["skip", "fail"], typer.Option(help="bad rows: skip and count, or stop")] = "skip",
    force: Annotated[bool, typer.Option("--force", help="replace an existing output")] = False,
    key: Annotated[
        Path | None, typer.Option(help="dicom: file of the secret key of all ids (made on first use)")
    ] = None,
    prompt: Annotated[str, typer.Option(help="dicom: question of every case")] = "",
    task: Annotated[
        Literal["report", "vqa-open", "vqa-closed"] | None, typer.Option(help="dicom: task of every case (report)")
    ] = None,
    slices: Annotated[bool, typer.Option("--slices", help="dicom: each slice is a case, not each series")] = False,
    view: Annotated[
        Literal["middle", "montage", "mip", "slices"] | None,
        typer.Option(help="dicom: what is shown of several slices (middle)"),
    ] = None,
    shown: Annotated[
        int | None, typer.Option(min=2, max=64, help="dicom: slices of a montage, or of --view slices (9)")
    ] = None,
    allow_burned_in: Annotated[
        bool, typer.Option("--allow-burned-in", help="dicom: take images that may show names in their pixels")
    ] = False,
    style: Annotated[
        Literal["pope", "probmed"] | None,
        typer.Option(help="probes: about findings (pope), or also side, location, severity (probmed)"),
    ] = None,
    negatives: Annotated[
        Literal["random", "popular", "adversarial"] | None,
        typer.Option(help="probes: absent findings drawn at random, by how often, or with what, they occur"),
    ] = None,
    per_image: Annotated[
        int | None, typer.Option(min=0, help="probes: most pairs about findings of one report (3; 0: all)")
    ] = None,
    closed_world: Annotated[
        bool, typer.Option("--closed-world", help="probes: what a report does not name is absent (label files)")
    ] = False,
    lexicon: Annotated[Path | None, typer.Option(help="probes: TOML file with further findings and synonyms")] = None,
    seed: Annotated[int | None, typer.Option(help="probes: seed of every choice (0)")] = None,
) -> None:
    """Turn rows of other tools into pairs or cases; tags are stripped, words compared again, bad rows refused."""
    from medpo_cli.cli import foreign as command
    from medpo_cli.cli.stage import plain

    asked = {"style": style, "negatives": negatives, "per_image": per_image, "seed": seed}
    asked = {name: value for name, value in asked.items() if value is not None}
    asked |= {"closed_world": True} if closed_world else {}
    if form != "probes" and (asked or lexicon):
        raise typer.BadParameter(
            "--style, --negatives, --per-image, --closed-world, --lexicon and --seed are for probes"
        )
    if form == "dicom":
        chosen = {"images": images, "prompt": prompt, "task": task, "view": view, "shown": shown}
        given = {name: value for name, value in chosen.items() if value}
        switches = {"slices": slices, "allow_burned_in": allow_burned_in, "force": force}
        plain("import", lambda: command.run_dicom(file, output, key, rejects, given | switches, on_bad=on_bad))
    if key or prompt or task or slices or view or shown or allow_burned_in:
        raise typer.BadParameter(
            "--key, --prompt, --task, --slices, --view, --shown and --allow-burned-in are for dicom"
        )
    if form == "probes":
        from medpo_cli.cli import probes

        if images:
            raise typer.BadParameter("--images is not for probes: cases name their images")
        plain("import", lambda: probes.run(file, output, rejects, asked, lexicon=lexicon, on_bad=on_bad, force=force))
    plain("import", lambda: command.run_import(form, file, output, images, rejects, on_bad=on_bad, force=force))


def export(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help="trl, llama-factory, ms-swift or fire-mpo")],
    file: Annotated[Path, typer.Argument(help="pairs")],
    output: Annotated[str, typer.Option("--output", "-o", help="write rows here instead of standard output")] = "-",
    root: Annotated[Path | None, typer.Option(help="folder that paths are relative to")] = None,
    drop_spans: Annotated[bool, typer.Option("--drop-spans", help="give up spans where the format has none")] = False,
    force: Annotated[bool, typer.Option("--force", help="replace an existing output")] = False,
) -> None:
    """Write pairs in the shape of another trainer, as JSON Lines."""
    from medpo_cli.cli import foreign as command
    from medpo_cli.cli.stage import plain

    plain("export", lambda: command.run_export(form, file, output, root, drop_spans=drop_spans, force=force))


def merge(
    file: Annotated[Path, typer.Argument(metavar="INPUT", help="what the shards read")],
    shards: Annotated[list[Path], typer.Argument(metavar="SHARD...", help="what they wrote, in any order")],
    output: Annotated[str, typer.Option("--output", "-o", help="write records here instead of standard output")] = "-",
    force: Annotated[bool, typer.Option("--force", help="replace an existing output")] = False,
) -> None:
    """Join the outputs of all --shard runs into the one that a single run would have written."""
    from medpo_cli.cli import merge as command
    from medpo_cli.cli.stage import plain

    plain("merge", lambda: command.run(file, shards, output, force=force))


def check(
    file: Annotated[Path, typer.Argument(help="JSONL file of any medpo records")],
    root: Annotated[Path | None, typer.Option(help="folder that paths are relative to")] = None,
    files: Annotated[bool, typer.Option("--files/--no-files", help="also look for the files named")] = True,
    images: Annotated[
        bool, typer.Option("--images", help="also prove from the files that corruptions changed their region alone")
    ] = False,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="also say what the pairs would teach: statistics, suspicious pairs")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="with --pairs: statistics as one JSON object")] = False,
) -> None:
    """Validate a file of records: types, spans, duplicate ids, end record, files."""
    from medpo_cli.cli import check as command
    from medpo_cli.cli.stage import plain

    plain("check", lambda: command.check(file, root, files=files, images=images, pairs=pairs, as_json=as_json))


def show(
    file: Annotated[Path, typer.Argument(help="cases, samples or pairs")],
    output: Annotated[Path, typer.Option("--output", "-o", help="the page")] = Path("records.html"),
    root: Annotated[Path | None, typer.Option(help="folder that paths are relative to")] = None,
    limit: Annotated[int, typer.Option(min=1, help="records shown")] = 60,
    with_text: Annotated[
        bool, typer.Option("--with-text", help="show prompts and answers, not only their shape")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="replace an existing page")] = False,
) -> None:
    """Write a page of records to look at: images, regions, corrupted and control, differing words."""
    from medpo_cli.cli import check as command
    from medpo_cli.cli.stage import plain

    plain("show", lambda: command.show(file, root, output, limit=limit, with_text=with_text, force=force))


def schema(
    name: Annotated[str, typer.Argument(help="record kind: case, sample, pair, ...")] = "",
) -> None:
    """Print the JSON Schema of a record kind (without a name: list the kinds)."""
    from medpo_cli.cli.stage import plain
    from medpo_cli.schema.export import run

    plain("schema", lambda: run(name, typer.echo))


def doctor(
    model: Annotated[str | None, typer.Option(help="model folder (default: the configured one)")] = None,
    adapter: Annotated[str | None, typer.Option(help="adapter folder on top")] = None,
    deep: Annotated[bool, typer.Option("--deep", help="also load the model and try it on an image")] = False,
    device: Annotated[str | None, typer.Option(help="with --deep: auto, cpu, cuda or cuda:N")] = None,
    quantize: Annotated[Literal["none", "nf4"] | None, typer.Option(help="with --deep: load in 4 bit")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="run code that the model folder brings")
    ] = False,
    config: Annotated[str | None, typer.Option(help="configuration file (default: ./medpo.toml)")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object, for scripts and bug reports")] = False,
) -> None:
    """Is everything there to run? Machine, packages, GPU, settings, model; each problem with its cure."""
    from medpo_cli.cli import doctor as command
    from medpo_cli.cli.stage import plain

    flags: dict[str, object] = {"model": model, "adapter": adapter, "device": device, "quantize": quantize}
    flags["trust_remote_code"] = trust_remote_code or None
    plain("doctor", lambda: command.run(flags, config, deep=deep, as_json=as_json, say=typer.echo))


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="folder for everything the demo makes")] = Path(
        "medpo-demo"
    ),
    domain: Annotated[
        Literal["phantom", "ct"], typer.Option(help="drawn chests, or real CT crops with inserted nodules")
    ] = "phantom",
    seeds: Annotated[int, typer.Option(min=1, help="alignment seeds")] = 3,
    images: Annotated[int, typer.Option(min=8, help="training images")] = 500,
    force: Annotated[bool, typer.Option("--force", help="replace the results of an earlier demo")] = False,
) -> None:
    """Run the whole loop on the embedded model and print base against aligned, with intervals."""
    from medpo_cli.cli import demo as command
    from medpo_cli.cli.stage import plain

    plain("demo", lambda: command.run(output, domain=domain, seeds=seeds, images=images, force=force))
