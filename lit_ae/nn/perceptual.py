"""How far pictures look apart: a Laplacian pyramid, and the features of a network trained on photographs."""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lit_ae.batch import DataSpec
from lit_ae.errors import ConfigError
from lit_ae.functional import full_precision
from lit_ae.nn.grid import check_grid

STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))  # numbers of VGG16's convolutions in torchvision
WIDTHS = (64, 128, 256, 512, 512)
SMALLEST = 2 ** (len(STAGES) - 1)  # side of a picture of which the poolings between the stages leave one pixel
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # mean and deviation of its data, scaled to [-1, 1]
URL = "https://download.pytorch.org/models/vgg16-397923af.pth"


class PerceptualDistance(nn.Module, ABC):
    """A distance of pictures that grows with their size as a distortion in nats does, but is no probability.

    It has no parameters: nothing of it is trained, or kept in checkpoints.

    Args:
        spec: What the data are.

    Raises:
        ConfigError: The samples are not pictures.
    """

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        self.shape = tuple(spec.input_shape or ())
        check_grid(self, self.shape, (1,))

    def prepare(self) -> None:
        """Fetch what the distance needs, before it is first taken."""

    @abstractmethod
    def forward(self, made: Tensor, x: Tensor) -> Tensor:
        """Distance of each picture from its original, (B,), of two batches (B, C, H, W), in float32 or better."""


class LaplacianPyramid(PerceptualDistance):
    """Absolute differences of the bands of a Laplacian pyramid: Σ_j 4^j ‖L_j(x) − L_j(y)‖₁, in units of x.

    Needs no weights. Each band weighs as much as a whole picture, however few its pixels: a difference spread evenly
    costs its plain sum, a local one, as of a stroke that is missing, shows in several bands and costs more.

    Args:
        spec: What the data are.
        levels: Number of bands, of which the last is what is left; fewer where a picture has no more to halve.

    Reference:
        Ling & Okada, "Diffusion Distance for Histogram Comparison", CVPR 2006. https://doi.org/10.1109/CVPR.2006.99
        Bojanowski et al., "Optimizing the Latent Space of Generative Networks", ICML 2018. https://arxiv.org/abs/1707.05776
    """

    kernel: Tensor

    def __init__(self, spec: DataSpec, levels: int = 4) -> None:
        super().__init__(spec)
        if levels < 1:
            raise ConfigError(f"levels is {levels}: set --model.perceptual_distance.levels to 1 or more.")
        self.levels = levels
        row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16  # Burt & Adelson 1983
        self.register_buffer("kernel", torch.outer(row, row)[None, None], persistent=False)

    def blur(self, x: Tensor) -> Tensor:
        """Smooth each picture, (N, 1, H, W), whose edge pixels go on outside."""
        return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), self.kernel.to(x.dtype))

    def forward(self, made: Tensor, x: Tensor) -> Tensor:
        """Distance of each picture from its original, (B,)."""
        with torch.autocast(x.device.type, enabled=False):
            rest = (full_precision(made) - full_precision(x)).flatten(0, 1).unsqueeze(1)  # the pyramid is linear
            total, area = rest.new_zeros(len(rest)), rest[0].numel()
            for level in range(self.levels):
                smooth = self.blur(rest) if level < self.levels - 1 and min(rest.shape[-2:]) > 1 else None
                band = rest if smooth is None else rest - smooth
                total = total + band.abs().flatten(1).mean(1) * area
                if smooth is None:
                    break
                rest = smooth[..., ::2, ::2]
            return total.view(len(x), -1).sum(1)


class LPIPS(PerceptualDistance):
    """Distance of the features of VGG16, trained on photographs: LPIPS times the number of elements of a picture.

    LPIPS is an average over positions; times C·H·W it keeps its weight beside a distortion in nats at any size, as
    where Rombach et al. add it to the error of each element. Pictures of one channel are repeated to three, those
    with a side below 16 are enlarged, and `spec.value_range`, or [0, 1] where that is unknown, becomes [−1, 1].

    The files are read when training or evaluation starts, not when a model is built, and no checkpoint holds them: a
    trained model reconstructs, embeds and samples without them.

    Args:
        spec: What the data are.
        weights: File with the weights of torchvision's vgg16, .pth or .safetensors.
        linear: File with the weights of LPIPS's features, .pth or .safetensors (v0.1/vgg.pth of the authors); None
            weighs all features alike, the paper's baseline.

    Reference:
        Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018. https://arxiv.org/abs/1801.03924
        Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015. https://arxiv.org/abs/1409.1556
    """

    def __init__(self, spec: DataSpec, weights: str, linear: str | None = None) -> None:
        super().__init__(spec)
        if self.shape[0] not in (1, 3):
            raise ConfigError(
                f"LPIPS sees pictures of 1 or 3 channels, the data have {self.shape[0]}: "
                "choose --model.perceptual_distance LaplacianPyramid."
            )
        self.files = {"weights": weights} | ({} if linear is None else {"linear": linear})
        self.low, self.high = spec.value_range or (0.0, 1.0)
        # a dict is no part of the module: no optimizer, checkpoint or process group sees 15 million fixed numbers
        self.tensors: dict[str, Tensor] = {}

    def prepare(self) -> None:
        """Read the files.

        Raises:
            ConfigError: A file is missing or unreadable, or holds something else.
        """
        if not self.tensors:
            read = {argument: read_weights(argument, path) for argument, path in self.files.items()}
            tensors = {}
            n_in = 3
            for width, stage in zip(WIDTHS, STAGES, strict=True):
                for layer in stage:
                    for kind, shape in (("weight", (width, n_in, 3, 3)), ("bias", (width,))):
                        tensors[f"{kind}{layer}"] = self.find(read, "weights", f"features.{layer}.{kind}", shape)
                    n_in = width
            for number, width in enumerate(WIDTHS if "linear" in read else ()):
                key = f"lin{number}.model.1.weight"
                tensors[f"linear{number}"] = self.find(read, "linear", key, (1, width, 1, 1))
            self.tensors = tensors

    def find(self, read: dict[str, dict[str, Tensor]], argument: str, key: str, shape: tuple[int, ...]) -> Tensor:
        """One tensor of what was read.

        Raises:
            ConfigError: It is not there, or of another shape.
        """
        found = read[argument].get(key)
        if not isinstance(found, Tensor) or tuple(found.shape) != shape:
            expected = f"torchvision's vgg16 ({URL})" if argument == "weights" else "the authors' v0.1/vgg.pth"
            raise ConfigError(
                f"{self.files[argument]} has no {key!r} of shape {shape}: "
                f"give --model.perceptual_distance.{argument} the file of {expected}."
            )
        return found.detach().float()

    def on(self, device: torch.device) -> dict[str, Tensor]:
        """The network's tensors on a device, where they stay."""
        self.prepare()
        if self.tensors["weight0"].device != device:
            self.tensors = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        return self.tensors

    def features(self, x: Tensor) -> list[Tensor]:
        """What each stage sees, (B, F, h, w), of length 1 at each position."""
        net, found = self.on(x.device), []
        shift, scale = torch.tensor((SHIFT, SCALE), device=x.device).view(2, 3, 1, 1)
        h = (2 * (x.float() - self.low) / (self.high - self.low or 1.0) - 1 - shift) / scale
        factor = -(-SMALLEST // min(x.shape[-2:]))
        h = h if factor <= 1 else F.interpolate(h, scale_factor=factor, mode="bilinear")
        for number, stage in enumerate(STAGES):
            h = F.max_pool2d(h, 2) if number else h
            for layer in stage:
                h = F.relu(F.conv2d(h, net[f"weight{layer}"], net[f"bias{layer}"], padding=1))
            wide = full_precision(h)  # ε within the root: where nothing is seen, the root alone has no gradient
            found.append(wide * (wide.square().sum(1, keepdim=True) + 1e-10).rsqrt())
        return found

    def forward(self, made: Tensor, x: Tensor) -> Tensor:
        """Distance of each picture from its original, (B,), which no gradient reaches."""
        with torch.no_grad():
            wanted = self.features(x)
        total = torch.zeros(len(x), device=x.device)
        for number, (one, other) in enumerate(zip(self.features(made), wanted, strict=True)):
            gap = (one - other).square()
            total = total + (gap * self.tensors.get(f"linear{number}", 1.0)).sum(1).mean((1, 2))
        return total * x[0].numel()


def read_weights(argument: str, path: str) -> dict[str, Tensor]:
    """Tensors of a .pth or .safetensors file, without unpickling anything else.

    Raises:
        ConfigError: There is no such file, or it cannot be read.
    """
    key = f"--model.perceptual_distance.{argument}"
    if not Path(path).is_file():
        source = f" (download {URL} once)" if argument == "weights" else ""
        raise ConfigError(
            f"There is no file {path}: give {key} the path of one{source}, "
            "or choose --model.perceptual_distance LaplacianPyramid, which needs none."
        )
    try:
        read = load_file(path) if path.endswith(".safetensors") else torch.load(path, "cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, SafetensorError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
        raise ConfigError(f"{path} is no file of weights ({reason}): give {key} a .pth or .safetensors file.") from None
    if not isinstance(read, dict):
        raise ConfigError(f"{path} holds no named tensors: give {key} a saved state dict.")
    return read
