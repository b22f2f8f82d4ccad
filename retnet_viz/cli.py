"""The command `retnet-viz`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from retnet_viz import __version__

_MODES = ("parallel", "recurrent", "chunkwise")  # MODES of the model, which takes long to import


def make_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands."""
    parser = argparse.ArgumentParser(prog="retnet-viz", description="See how retention works.")
    parser.add_argument("--version", action="version", version=f"retnet-viz {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_explore(commands)
    _add_lab(commands)
    _add_notebooks(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_bench(commands)
    _add_inspect(commands)
    _add_export(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; 0 on success, 1 on a run that failed, 2 on input that cannot be used."""
    options = make_parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except ValueError as error:  # ConfigError, CheckpointError, DataError and other refused input
        print(f"retnet-viz {options.command}: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"retnet-viz {options.command}: {error}", file=sys.stderr)
        return 1


def _add_explore(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("explore", help="serve the explorer as a web page")
    _add_address(parser, port=8866)
    parser.set_defaults(run=_explore)


def _explore(options: argparse.Namespace) -> int:
    from retnet_viz.server import explore

    explore(options.host, options.port, open_browser=not options.no_browser)
    return 0


def _add_lab(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("lab", help="open the notebooks in JupyterLab")
    parser.add_argument("folder", nargs="?", type=Path, help="another folder than the notebooks'")
    _add_address(parser, port=8888)
    parser.set_defaults(run=_lab)


def _lab(options: argparse.Namespace) -> int:
    from retnet_viz.server import lab

    lab(options.folder, options.host, options.port, open_browser=not options.no_browser)
    return 0


def _add_notebooks(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "notebooks", help="copy the notebooks to where you can change them"
    )
    parser.add_argument("folder", type=Path, help="made where there is none; no file is replaced")
    parser.set_defaults(run=_notebooks)


def _notebooks(options: argparse.Namespace) -> int:
    from retnet_viz.server.notebooks import copy_notebooks

    new, kept = copy_notebooks(options.folder)
    print(f"{len(new)} notebooks copied to {options.folder}")
    for notebook in kept:
        print(f"{notebook} was there already and stays as it is")
    print(f"`retnet-viz lab {options.folder}` opens them.")
    return 0


def _add_address(parser: argparse.ArgumentParser, port: int) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=port, help="port, or 0 for any free one (%(default)s)"
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address only")


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "train",
        help="train a RetNet, or what it is compared with, on text",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data", required=True, help="a .txt or .txt.xz file, or a folder of them")
    parser.add_argument("--out", required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on from the run's checkpoint")
    parser.add_argument("--tokenizer", default="", help="a tokenizer.json (learned from the data)")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="end earlier, with the schedule done; 0: do not"
    )
    parser.add_argument("--batch-size", type=int, default=8, help="rows per step")
    parser.add_argument("--accumulate", type=int, default=1, help="parts that they are read in")
    parser.add_argument("--context", type=int, default=512, help="tokens per row")
    parser.add_argument(
        "--chunk-size",
        type=int,
        default=argparse.SUPPRESS,
        help="tokens per chunk (128)",
    )
    parser.add_argument(
        "--optimizer", choices=("adamw", "muon"), default="adamw", help="muon: for inner matrices"
    )
    parser.add_argument("--learning-rate", type=float, default=1.5e-3, help="peak")
    parser.add_argument("--muon-learning-rate", type=float, default=0.02, help="that of Muon")
    parser.add_argument("--warmup", type=int, default=200, help="steps")
    parser.add_argument(
        "--schedule",
        choices=("cosine", "stable"),
        default="cosine",
        help="of the learning rate; stable: the peak, then a fall to 0",
    )
    parser.add_argument(
        "--decay-share", type=float, default=0.2, help="of a stable run's steps, in which it falls"
    )
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--clip", type=float, default=1.0, help="largest norm of a gradient")
    parser.add_argument(
        "--initial-scale", type=float, default=1.0, help="of the matrices between layers, at first"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--initial-weights",
        choices=("free", "positive"),
        default="free",
        help="positive: retention weights are, at first, near the diagonal",
    )
    parser.add_argument(
        "--copy-steps", type=int, default=0, help="at first, of random tokens that come again"
    )
    recurring = "share of rows in which something comes again"
    parser.add_argument("--recurring", type=float, default=0.0, help=f"{recurring}, then")
    parser.add_argument("--recurring-end", type=float, default=0.0, help=f"{recurring}, later")
    parser.add_argument("--recurring-steps", type=int, default=0, help="from the one to the other")
    parser.add_argument(
        "--recurring-last", type=float, help=f"{recurring}, while a stable run's rate falls"
    )
    parser.add_argument(
        "--recurring-kinds",
        default="random,shuffled,span,sentence,word,name",
        help="of these rows, with commas between",
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "bfloat16", "float32"),
        default="auto",
        help="auto: the faster one on this machine",
    )
    parser.add_argument("--device", default="cpu", help="torch's name of it")
    parser.add_argument("--validate-every", type=int, default=250, help="steps")
    parser.add_argument("--validation-tokens", type=int, default=65536, help="until the last step")
    parser.add_argument("--sample-tokens", type=int, default=40, help="written at a validation")
    parser.add_argument("--model", choices=("retnet", "transformer", "mamba"), default="retnet")
    shape = parser.add_argument_group("the model (None: as in the library)")
    for name in ("vocab_size", "d_model", "n_layers", "n_heads"):
        shape.add_argument(f"--{name.replace('_', '-')}", type=int)
    shape.add_argument("--rotation-base", type=float, help="of the angles of q and k")
    shape.add_argument("--angles", help="inclusive, rope or half_turn: where they begin")
    shape.add_argument(
        "--decay", help="paper, torchscale, a γ for all heads, or one for each, with commas between"
    )
    shape.add_argument("--head-norm", help="layer, rms or none")
    shape.add_argument("--gate", help="swish or none")
    parser.add_argument("--about", default="no description given", help="the data, in a phrase")
    parser.add_argument(
        "--weights-license", default="", help="who may use the weights, for the model card"
    )
    parser.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> int:
    from retnet_viz.checkpoints.native import KINDS
    from retnet_viz.training import TrainingConfig, train

    values = vars(options)
    kind = KINDS[options.model][0]
    shape = {
        name: values[name]
        for name in (
            "vocab_size",
            "d_model",
            "n_layers",
            "n_heads",
            "rotation_base",
            "angles",
            "decay",
            "head_norm",
            "gate",
        )
        if values[name] is not None
    }
    for name in shape:
        if name not in kind.__dataclass_fields__:
            raise ValueError(f"a {options.model} has no --{name.replace('_', '-')}")
    if "decay" in shape:
        shape["decay"] = _decay(options.decay, options.n_heads or kind.n_heads)
    config = TrainingConfig(
        **{name: values[name] for name in TrainingConfig.__dataclass_fields__ if name in values}
    )
    train(
        config,
        kind(**shape),
        resume=options.resume,
        about=options.about,
        weights_license=options.weights_license,
    )
    return 0


def _decay(text: str, n_heads: int) -> str | tuple[float, ...]:
    """The name of a schedule, or γ of each head."""
    try:
        gammas = tuple(float(part) for part in text.split(","))
    except ValueError:
        return text
    return gammas * n_heads if len(gammas) == 1 else gammas


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "evaluate", help="say how well a model predicts held-out text, and what it recalls"
    )
    parser.add_argument(
        "folders", nargs="*", metavar="FOLDER", help="checkpoints (the three that ship)"
    )
    parser.add_argument(
        "--data", help="text to train on, of which every 50th is held out (stories that ship)"
    )
    parser.add_argument(
        "--samples", type=int, default=32, help="rows and texts for each figure (%(default)s)"
    )
    parser.add_argument("--context", type=int, default=512, help="tokens per row (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    import json

    from retnet_viz.checkpoints import shipped
    from retnet_viz.training.report import evaluate_folder, report_table

    folders = [Path(folder) for folder in options.folders] or list(shipped().values())
    reports = [
        evaluate_folder(folder, options.data, options.samples, options.context)
        for folder in folders
    ]
    if options.json:
        print(json.dumps([report.to_dict() for report in reports], indent=2))
    else:
        print(report_table(reports))
    return 0


def _add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("bench", help="time the model beside others on this machine")
    parser.add_argument(
        "--lengths", type=int, nargs="+", metavar="T", help="tokens to read (128 to 32,768)"
    )
    parser.add_argument(
        "--positions", type=int, nargs="+", metavar="N", help="tokens to generate behind"
    )
    parser.add_argument(
        "--modes",
        nargs="+",
        choices=_MODES,
        help="of reading (all)",
    )
    parser.add_argument("--repeat", type=int, default=5, help="runs of each (%(default)s)")
    parser.add_argument(
        "--compile", action="store_true", help="also ours through torch.compile: minutes more"
    )
    parser.add_argument("--threads", type=int, default=2, help="of each process (%(default)s)")
    parser.add_argument(
        "--limit", type=float, help="seconds after which a measurement is given up (60)"
    )
    parser.set_defaults(run=_bench)


def _bench(options: argparse.Namespace) -> int:
    from retnet_viz.experiments.speed.benchmark import LENGTHS, POSITIONS, measure_speed
    from retnet_viz.experiments.speed.results import LIMIT
    from retnet_viz.experiments.speed.speed_table import speed_table
    from retnet_viz.model import MODES

    def report(activity: str) -> None:
        print(f"{activity} ...", file=sys.stderr, flush=True)

    speed = measure_speed(
        options.lengths or LENGTHS,
        options.positions or POSITIONS,
        options.repeat,
        options.threads,
        options.modes or MODES,
        report,
        options.compile,
        LIMIT if options.limit is None else options.limit,
    )
    print(speed_table(speed))
    return 0


def _add_inspect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("inspect", help="say what a checkpoint holds, without loading it")
    parser.add_argument("path", help="its folder, or owner/model on the Hugging Face Hub")
    parser.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    from retnet_viz.checkpoints import inspect

    print(inspect(options.path).describe())
    return 0


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "export",
        help="write what the explorer shows of a text as pages, pictures and numbers",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="where to write the files")
    text = parser.add_mutually_exclusive_group(required=True)
    text.add_argument("--text", help="the text to read")
    text.add_argument("--file", help="a text file to read")
    text.add_argument("--trace", help="a saved trace (.safetensors) in place of a text")
    parser.add_argument("--model", help="a checkpoint's folder or its name on the Hugging Face Hub")
    parser.add_argument("--mode", choices=_MODES, default=_MODES[0])
    parser.add_argument(
        "--chunk-size",
        type=int,
        default=argparse.SUPPRESS,
        help="tokens per chunk (8)",
    )
    parser.add_argument("--layer", type=int, default=0)
    parser.add_argument("--heads", type=int, nargs="+", default=(), help="heads to show (all)")
    parser.add_argument("--head", type=int, default=0, help="the head that is stepped through")
    parser.add_argument("--token", type=int, help="the selected token (the last)")
    parser.add_argument("--scale", choices=("linear", "log", "arcsinh"), default="linear")
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    parser.add_argument(
        "--formats",
        nargs="+",
        default=("html", "csv", "npz", "json"),
        help="html, png, svg, csv, npz, safetensors, json",
    )
    parser.add_argument("--panels", nargs="*", help="some of the panels by name (all)")
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    import retnet_viz as rv
    from retnet_viz.trace import read_text
    from retnet_viz.ui.core.state.page_state import EXPLORER_CHUNK

    model = rv.load(options.model) if options.model or not options.trace else None
    if options.trace:
        trace = rv.Trace.load(options.trace, model=model)
    else:
        text = options.text if options.file is None else read_text(options.file).text
        assert model is not None
        chunk_size = getattr(options, "chunk_size", EXPLORER_CHUNK)
        trace = rv.trace(model, text, options.mode, chunk_size)
    with tqdm(unit="file") as bar:

        def tell(name: str, done: int, total: int) -> None:
            bar.total, bar.n = total, done
            bar.set_postfix_str(name)

        paths = rv.export(
            trace,
            options.folder,
            options.formats,
            options.panels,
            theme=options.theme,
            tell=tell,
            layer=options.layer,
            heads=tuple(options.heads),
            head=options.head,
            token=options.token,
            scale=options.scale,
        )
        bar.update(len(paths) - bar.n)
    size = sum(path.stat().st_size for path in paths)
    print(f"{len(paths)} files, {size / 1e6:.1f} MB, in {options.folder}")
    return 0
