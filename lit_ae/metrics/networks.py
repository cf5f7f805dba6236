"""Networks of local files that give features."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_ae.errors import ConfigError

Network = Callable[[Tensor], Tensor]  # samples, (B, *E), in [0, 1] where their range is known → features, (B, *F)


def from_file(path: Path, device: torch.device) -> tuple[str, Network]:
    """What the network of a file is, and the network, without running code of that file.

    Raises:
        ConfigError: It is missing, damaged, of another kind, or a package to read it with is missing.
    """
    kinds = {".onnx": from_onnx, ".pth": inception}
    if path.suffix not in kinds:
        raise ConfigError(
            f"{path} is no .onnx file, nor the .pth file of Inception's weights: export the network to .onnx, "
            "as opening other formats may run code that they hold."
        )
    if not path.is_file():
        raise ConfigError(f"There is no file {path}: name one that exists, or leave it out.")
    return kinds[path.suffix](path, device)


def from_onnx(path: Path, device: torch.device) -> tuple[str, Network]:
    """The network of an .onnx file: one input of floats, whose first output is taken.

    Raises:
        ConfigError: The file is damaged or does not fit, or onnxruntime is missing.
    """
    try:
        onnxruntime = import_module("onnxruntime")
    except ImportError:
        raise ConfigError(f"{path} needs a package: pip install 'lit_ae[onnx]'.") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no public type in common
        reason = str(error).splitlines()[0][:120]
        raise ConfigError(f"{path} cannot be read ({reason}): name a network in ONNX format.") from error
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or isinstance(inputs[0].shape[0], int):
        raise ConfigError(
            f"{path} does not take one batch of floats of any size: export it with one input and a dynamic first axis."
        )
    name, shape = inputs[0].name, inputs[0].shape

    def extract(x: Tensor) -> Tensor:
        fitted = fit(x, [size if isinstance(size, int) else None for size in shape[1:]], path)
        return torch.from_numpy(session.run(None, {name: fitted.cpu().numpy()})[0])

    return f"network of {path.name}", extract


def inception(path: Path, device: torch.device) -> tuple[str, Network]:
    """Inception v3, of which FID is made, with the weights of a local file.

    Raises:
        ConfigError: The file is damaged or holds something else, or torch-fidelity is missing.
    """
    from torchmetrics.image import fid

    try:
        net = fid.NoTrainInceptionV3("inception-v3-compat", ["2048"], str(path)).to(device)
    except ModuleNotFoundError:
        raise ConfigError(f"{path} needs a package: pip install torch-fidelity.") from None
    except Exception as error:  # bytes that are no weights fail in any way
        raise ConfigError(
            f"{path} does not hold the weights of Inception v3 ({type(error).__name__}): "
            "give the .pth file that torch-fidelity publishes."
        ) from error

    def extract(x: Tensor) -> Tensor:
        fitted = fit(x, [3, None, None], path)
        return net((fitted * 255).round().clamp(0, 255).byte().to(device))

    return f"Inception v3 with the weights of {path.name}", extract


def fit(x: Tensor, shape: list[int | None], path: Path) -> Tensor:
    """Samples in the shape that a network takes, None being any: pictures are resized, grey ones repeated.

    Raises:
        ConfigError: They cannot be brought into that shape.
    """
    if x.ndim == len(shape) + 1 == 4:
        if x.shape[1] == 1 and shape[0] == 3:
            x = x.expand(-1, 3, -1, -1)
        sides = tuple(want or have for want, have in zip(shape[1:], x.shape[2:], strict=True))
        if sides != tuple(x.shape[2:]):
            x = F.interpolate(x, size=sides, mode="bilinear", antialias=True)
    taken = [want or have for want, have in zip(shape, x.shape[1:], strict=False)]
    if x.ndim != len(shape) + 1 or taken != list(x.shape[1:]):
        wanted = "x".join(str(size or "any") for size in shape)
        raise ConfigError(f"{path} takes samples of shape {wanted}, not {tuple(x.shape[1:])}: name another network.")
    return x
