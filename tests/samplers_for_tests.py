"""Short runs of many variants, and small samplers of them."""

from __future__ import annotations

GRID = "--model.grid_encoder.channels=[4,8] --model.grid_decoder.channels=[8,4] --model.latent_dim=4"
BOOK = "--model.quantizer=lit_ae.nn.quantizers.EMAVectorQuantizer --model.quantizer.num_codes=8"
FLAT = "--model.encoder.hidden=[16] --model.decoder.hidden=[16]"
RUNS = {  # name → arguments of a short run
    "vq": f"--model=VQVAE {GRID} {BOOK}",
    "residual": f"--model=VQVAE {GRID} --model.quantizer=lit_ae.nn.quantizers.ResidualVQ --model.quantizer.num_codes=8",
    "classes": f"--model=VQVAE {GRID} {BOOK} --data.condition=label",
    "categorical": f"--model=CategoricalVAE {GRID}",
    "ae": f"--model=AE {FLAT}",
    "vae": f"--model=VAE {FLAT}",
    "cvae": f"--model=CVAE {FLAT} --data.condition=label",
    "plane": f"--model=VAE {FLAT} --data=Points --data.n=100 --data.batch_size=30",
}
LATENT = {  # kind of sampler of latents → small settings
    "gmm": ("--sampler.components=3",),
    "knn": (),
    "maf": ("--epochs=1", "--sampler.width=8", "--sampler.transforms=2"),
    "spline": ("--epochs=1", "--sampler.width=8", "--sampler.transforms=1"),
    "two_stage": ("--epochs=1", "--sampler.width=8", "--sampler.samples=5"),
}
SMALL = ("--sampler.width=16", "--sampler.layers=1")
