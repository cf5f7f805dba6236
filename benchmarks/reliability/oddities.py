"""Values that people, editors and attackers put into configs."""

from __future__ import annotations

import math

CLASSES = (
    *("os.system", "subprocess.Popen", "builtins.eval", "torch.hub.load", "torch.load", "jsonargparse.set_loader"),
    *("nosuch.Module", "lit_ae.models.vae.Nosuch", "lit_ae.cli.main", "torch.nn.Linear", "torch.optim.Adam", "Adam"),
    *("VAE", "Vae", "Autoencoder", "Digits", "ModelCheckpoint", "Linear", "", ".", "a..b", "VAE.", ".VAE", "VAE VAE"),
    *("lit_ae.models.base.Autoencoder", "lightning.pytorch.Trainer", "datamodules.digits.Digits", "Callback", "é.é"),
    *("ReduceLROnPlateau", "torch.optim.Optimizer", "lit_ae.nn.mlp.MLPEncoder", "MLPEncoder", "Normal", "Mnist"),
)
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
FLOW_BOMB = "[&a [x,x,x,x,x,x,x,x,x], " + ", ".join(
    f"&{new} [*{old},*{old},*{old},*{old},*{old},*{old},*{old},*{old},*{old}]"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
FLOW_BOMB += "]"
NUMBERS = (0, -1, 1, 2**31, -(2**63), 10**30, 10**400, 0.0, -0.0, 1e308, -1e-320, 0.5, math.nan, math.inf, -math.inf)
WORDS = (
    *("", " ", "null", "~", "true", "no", "nan", "inf", "1e5", "0x1F", "0o17", "1_000", "12:30:45", "2020-99-99"),
    *("'", '"', "[", "{", "}", "]", "&a", "*a", "!!python/object/apply:os.system", "%", "@", "`", "|", ">", "?", ":"),
    *("{run}", "{", "${oc.env:HOME}", "https://example.org/a.yaml", "file:///etc/passwd", "/etc/passwd", "/dev/zero"),
    *(
        "..",
        "-",
        "--",
        "-1",
        "\t",
        "\n",
        "a\nb",
        "\x00",
        "\x7f",
        "\u202e",
        "\ufeff",
        "日本語",
        "🙂",
        "a" * 300,
        "x" * 20000,
    ),
    *(
        "class_path",
        "init_args",
        "lit_ae",
        "vae.yaml",
        "vae",
        "configs",
        "[1, 2",
        '{"class_path": "VAE"',
        FLOW_BOMB,
        BOMB,
    ),
)
KEYS = (
    *("", " ", "class_path", "init_args", "dict_kwargs", "__path__", "+", "callbacks+", "model", "data", "trainer"),
    *("a.b", ".", "..", "a b", "1", "null", "latent_dim", "self", "config", "help", "print_config", "é", "-", "--x"),
)
ODD_KEYS = (1, None, True, 1.5, math.nan)
