"""Several codes per vector: each stands for what those before it left over."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lit_ae.nn.quantizers.base import Quantizer, check
from lit_ae.nn.quantizers.codebook import EMAVectorQuantizer


class ResidualVQ(Quantizer):
    """Residual vector quantization: codebook l stands for what l − 1 codebooks left (Zeghidour et al. 2021, alg. 1).

    Args:
        features: Number of features of one vector, D.
        num_codes: Number of codes of each codebook, K.
        depth: Number of codebooks, hence of codes per vector.
        commitment: Weight of the pull of each remainder to its code, summed over depths (Lee et al. 2022, eq. 7).
        decay: What a training batch leaves of the running counts of codes, and of running means.
        revive: Share of the mean use below which a code moves to a random vector of the batch; 0 for never.
        kmeans_steps: Steps of k-means on the first training batch, where the codebooks start; 0 for none.
    """

    def __init__(
        self,
        features: int,
        num_codes: int = 512,
        depth: int = 4,
        commitment: float = 0.25,
        decay: float = 0.99,
        revive: float = 0.1,
        kmeans_steps: int = 10,
    ) -> None:
        super().__init__(features)
        check(self, depth=(depth, 1))
        books = [EMAVectorQuantizer(features, num_codes, commitment, decay, revive, kmeans_steps) for _ in range(depth)]
        self.books: list[EMAVectorQuantizer] = nn.ModuleList(books)  # type: ignore[assignment]
        self.num_codes, self.depth, self.coefficients = num_codes, depth, {"commitment": commitment}

    @torch.no_grad()
    def encode(self, z: Tensor) -> Tensor:
        """Codes of every depth, (B, depth, *S)."""
        codes = []
        for book in self.books:
            codes.append(book.encode(z))
            z = z - book.lookup(codes[-1])
        return torch.stack(codes, 1)

    def lookup(self, codes: Tensor) -> Tensor:
        """Sum of the vectors of all depths, (B, D, *S)."""
        return sum((book.lookup(each) for book, each in zip(self.books, codes.unbind(1), strict=True)), torch.tensor(0))

    def terms(self, z: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """Commitment, (B,), summed over depths; a remainder's gradient is that of z."""
        total = z.new_zeros(len(z))
        for book, each in zip(self.books, codes.unbind(1), strict=True):
            total = total + book.terms(z, each)["commitment"]
            z = z - book.lookup(each).detach()
        return {"commitment": total}

    @torch.no_grad()
    def update(self, z: Tensor, codes: Tensor) -> None:
        """Update every codebook; a first batch starts one after the other, each on what the new ones left."""
        for book, each in zip(self.books, codes.unbind(1), strict=True):
            fresh = not book.started
            left = book.lookup(each)
            book.update(z, each)
            z = z - (book.lookup(book.encode(z)) if fresh else left)
