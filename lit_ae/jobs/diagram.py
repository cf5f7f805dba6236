"""Encoder and decoder drawn layer by layer, by visualtorch."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import matplotlib
import torch
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import nn

from lit_ae.batch import Shape
from lit_ae.callbacks.figures import write
from lit_ae.errors import ConfigError
from lit_ae.jobs.layers import Described
from lit_ae.nn import Decoder, Encoder, GridDecoder, GridEncoder
from lit_ae.nn.blocks import ChannelsLast
from lit_ae.plots.style import INK, PALETTE

ORIGIN = "lit_ae summary"
SIDE = 240  # pixels of the longest side of any layer
THIN = 24  # pixels of the shortest
GAP = 80  # pixels between layers
MARGIN = 40
WIDEST = 1700  # pixels; wider networks are drawn one below the other
INPUT = "#DDDDDD"
SHADES = [*PALETTE[:3], PALETTE[5], PALETTE[3], PALETTE[4], PALETTE[6], *PALETTE[7:]]
DRAWN = (Encoder, Decoder, GridEncoder, GridDecoder)  # map one tensor to one, which the library can draw
UNSEEN = (nn.Identity, ChannelsLast)  # change neither a value nor a shape


def save(described: Described, path: Path) -> None:
    """Draw the diagram and write it, whole or not at all.

    Raises:
        ConfigError: visualtorch is not installed.
        StorageError: The disk is full, or the folder cannot be written.
    """
    buffer, origin = io.BytesIO(), PngInfo()
    origin.add_text("Software", ORIGIN)
    draw(described).quantize(128, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True, pnginfo=origin)
    write(path, buffer.getvalue())


def ours(path: Path) -> bool:
    """Whether an earlier call drew this picture."""
    try:
        with Image.open(path) as picture:
            return picture.info.get("Software") == ORIGIN
    except OSError:
        return False


def draw(described: Described) -> Image.Image:
    """Heading, one panel per network in the order of calls, and what the colours mean."""
    nets = {name: without_unseen(net) for name, net in networks(described).items()}
    kinds = list(dict.fromkeys(type(layer) for net in nets.values() for layer in net.modules() if is_layer(layer)))
    colours = {kind: SHADES[i % len(SHADES)] for i, kind in enumerate(kinds)}
    counts = {layer.name: layer.parameters for layer in described.layers}
    scale = min(SIDE / longest(nets, described.inputs), THIN)
    panels = [
        stacked(
            text(f"{name.capitalize()}: {type(net).__name__}, {counts[name]:,} parameters", 24),
            panel(net, described.inputs[name], colours, scale),
        )
        for name, net in nets.items()
    ]
    wide = sum(image.width + 2 * MARGIN for image in panels)
    middle = beside(*panels) if wide <= WIDEST else stacked(*panels)
    heading, note = text(described.heading, 30), text("Shapes are those of one sample; (1, n) is a vector.", 20)
    meanings = {"input": INPUT} | {kind.__name__: colour for kind, colour in colours.items()}
    return stacked(heading, middle, *legend(meanings, max(heading.width, middle.width)), note, margin=MARGIN)


def stacked(*images: Image.Image, margin: int = 0) -> Image.Image:
    """Pictures one below the other, to the left."""
    width, height = max(image.width for image in images), sum(image.height + MARGIN // 2 for image in images)
    canvas = Image.new("RGB", (width + 2 * margin, height - MARGIN // 2 + 2 * margin), "white")
    top = margin
    for image in images:
        canvas.paste(image, (margin, top))
        top += image.height + MARGIN // 2
    return canvas


def beside(*images: Image.Image) -> Image.Image:
    """Pictures from left to right, with their titles on one line."""
    width, height = sum(image.width + 2 * MARGIN for image in images), max(image.height for image in images)
    canvas = Image.new("RGB", (width - 2 * MARGIN, height), "white")
    left = 0
    for image in images:
        canvas.paste(image, (left, 0))
        left += image.width + 2 * MARGIN
    return canvas


def networks(described: Described) -> dict[str, nn.Module]:
    """The encoders and decoders that were called, in that order; not those inside others, nor ladders or attention."""
    modules = dict(described.model.named_modules())
    found: dict[str, nn.Module] = {}
    for name in described.inputs:
        if isinstance(modules[name], DRAWN) and not any(name.startswith(f"{outer}.") for outer in found):
            found[name] = modules[name]
    return found


def is_layer(module: nn.Module) -> bool:
    """Whether a module is drawn as a box: it holds no others, and does something."""
    return not any(True for _ in module.children()) and not isinstance(module, UNSEEN)


def panel(net: nn.Module, shape: Shape, colours: dict[type, str], scale: float) -> Image.Image:
    """One network, left to right: a picture as large as its sides, a vector as long as it has numbers."""
    try:
        import visualtorch
    except ImportError as error:
        raise ConfigError("The diagram needs visualtorch, which is not installed: pip install visualtorch.") from error
    fills = {**colours, visualtorch.Input: INPUT}
    with torch.no_grad():
        drawn = visualtorch.render(
            net,
            (1, *shape),
            style="flow",
            type_ignore=list(UNSEEN),
            color_map={kind: {"fill": colour, "outline": INK} for kind, colour in fills.items()},
            low_dim_orientation="x",
            scale_xy=scale,
            min_xy=THIN,
            max_xy=SIDE,
            scale_z=1,
            min_z=THIN,
            max_z=SIDE // 2,
            spacing=GAP,
            show_dimension=True,
            font=font(22),
            font_color=INK,
            connector_fill="#999999",
        )
    return drawn.convert("RGB")


def longest(nets: dict[str, nn.Module], inputs: dict[str, Shape]) -> int:
    """The longest side in pixels of any picture in the networks, or vector where none of them works on pictures."""
    seen: list[Shape] = []

    def hook(layer: nn.Module, given: tuple[Any, ...], out: Any) -> None:
        if isinstance(out, torch.Tensor):
            seen.append(tuple(out.shape[1:]))

    for name, net in nets.items():
        handles = [layer.register_forward_hook(hook) for layer in net.modules() if is_layer(layer)]
        with torch.no_grad():
            net(torch.rand(1, *inputs[name]))
        for handle in handles:
            handle.remove()
    if any(len(shape) == 3 for shape in seen):
        seen = [shape[1:] for shape in (*seen, *inputs.values()) if len(shape) == 3]
    return max(max(shape) for shape in seen)


def without_unseen(net: nn.Module) -> nn.Module:
    """A copy without the modules that would be drawn as a copy of the layer before them."""
    net = copy.deepcopy(net)
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Sequential):
                setattr(module, name, nn.Sequential(*(layer for layer in child if not isinstance(layer, UNSEEN))))
    return net


def font(size: int) -> Any:
    """The font of all our figures."""
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)


def text(line: str, size: int) -> Image.Image:
    """A line of text."""
    letters = font(size)
    image = Image.new("RGB", (int(letters.getlength(line)) + 1, size + size // 3), "white")
    ImageDraw.Draw(image).text((0, 0), line, font=letters, fill=INK)
    return image


def legend(colours: dict[str, str], width: int) -> list[Image.Image]:
    """What the colours mean, in as many rows as the width asks for."""
    rows: list[Image.Image] = []
    left = width
    for name, colour in colours.items():
        label = text(name, 22)
        if left + label.width + 34 > width:
            rows.append(Image.new("RGB", (max(width, label.width + 34), label.height), "white"))
            left = 0
        ImageDraw.Draw(rows[-1]).rectangle((left, 2, left + 24, 26), fill=colour, outline=INK)
        rows[-1].paste(label, (left + 34, 0))
        left += label.width + 70
    return rows
