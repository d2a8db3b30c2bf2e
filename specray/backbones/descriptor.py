"""A backbone without weights: colour, texture and a border prior, as features for the cosine graph.

It lets a demo, a test or an offline trial run the ordinary spectral pipeline anywhere. **It is no
substitute for a ViT**: it knows no semantics, only that an object tends to look unlike the border
of its photograph, and it fails on objects that touch the border or wear the colours of the scene.

The cosine affinity of plain colour statistics is nearly constant, so its Fiedler vector follows
light and sky. Here the features are built so that their cosine is a useful kernel,

    cos(f_i, f_j) = 1/2 cos(theta_i - theta_j) + 1/2 k(x_i, x_j)

* ``x`` holds the patch's mean Lab colour, its deviation, and log gradient energy. ``k`` is close to
  a Gaussian kernel whose bandwidth follows the image's median distance, made explicit by the
  Nystrom method [1]_.
* ``theta`` in [0, pi/2] is the objectness of the patch: boundary connectivity, background-weighted
  contrast and the quadratic saliency optimisation of [2]_, with patches in place of superpixels,
  no spatial weight in the contrast, and a mild preference for the centre.
  It ties border-like patches together, and the Fiedler vector cuts there.

References
----------
.. [1] C. Williams, M. Seeger, "Using the Nystrom method to speed up kernel machines", NIPS 2000.
.. [2] W. Zhu, S. Liang, Y. Wei, J. Sun, "Saliency optimization from robust background detection",
   CVPR 2014, sections 3 to 5.
"""

from __future__ import annotations

import math

import torch
from scipy.sparse import coo_array, diags_array
from scipy.sparse.linalg import spsolve
from skimage.color import rgb2lab
from skimage.filters import threshold_otsu
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize, pad

PATCH = 16
CELL = 4  # pixels; colour statistics are taken over cells, as film grain is not texture
LANDMARKS = 16  # per side; a regular sample of the patches stands for all in sums and in Nystrom
BANDWIDTH = 0.25  # of the median squared distance between descriptors
NOTICEABLE = 0.05  # square of a just noticeable difference, 2.3 Lab units; floor of the bandwidths
BACKGROUND_SCALE = 0.4  # sigma of boundary connectivity
CENTRE_WEIGHT = 0.5  # log-decay of the foreground term from the centre to the middle of a side
SMOOTHNESS = 3.0  # weight of the pairwise term
SMOOTHNESS_FLOOR = 0.02  # keeps the pairwise term connected across edges
STEEPNESS = 20.0  # of the logistic map from saliency to angle, between the two Otsu classes
FAINT = 1e-3  # contrast and saliency differences below this are noise, not an object


class DescriptorBackbone:
    """Hand-made patch features whose cosine graph separates the object from the border's looks.

    Deterministic and computed image by image, so that a batch never changes a result. The
    arithmetic runs on the CPU, whatever the device of the images.
    """

    name = "descriptor"
    patch_size = PATCH

    def __call__(self, images: Tensor) -> Tensor:
        """Features of every patch.

        Parameters
        ----------
        images
            (B, 3, H, W) RGB, H and W multiples of 16, uint8 or floats from 0 to 255.

        Returns
        -------
        Tensor
            (B, N, 258) float32 of unit norm, on the device of ``images``; N = H * W / 256.
        """
        features = [_image_features(image) for image in images.cpu()]
        return torch.stack(features).to(images.device)


def _image_features(image: Tensor) -> Tensor:
    """(3, H, W) to (N, D) float32."""
    height, width = image.shape[1] // PATCH, image.shape[2] // PATCH
    descriptors = _descriptors(image)
    rows, columns = _sampled(height), _sampled(width)
    landmarks = (rows[:, None] * width + columns).flatten()
    distances = torch.cdist(descriptors, descriptors[landmarks]).square()
    kernel = torch.exp(-distances / (BANDWIDTH * distances.median() + NOTICEABLE))
    theta = _objectness(kernel, landmarks, descriptors, height, width) * math.pi / 2
    objectness = torch.stack([theta.cos(), theta.sin()], dim=1)
    appearance = normalize(_nystrom(kernel, landmarks), dim=1)
    return (torch.cat([objectness, appearance], dim=1) / math.sqrt(2)).float()


def _descriptors(image: Tensor) -> Tensor:
    """(N, 7): Lab mean and deviation per patch, and the log of its mean gradient magnitude."""
    rgb = image[None].double() / 255
    cells = avg_pool2d(rgb, CELL)[0].permute(1, 2, 0).numpy()
    lab = torch.from_numpy(rgb2lab(cells)).permute(2, 0, 1)[None] / 10
    mean = avg_pool2d(lab, PATCH // CELL)
    deviation = (avg_pool2d(lab.square(), PATCH // CELL) - mean.square()).clamp(min=0).sqrt()
    # Lightness counts less than hue: shading and shadow fall on object and scene alike.
    mean = mean * torch.tensor([0.6, 1.0, 1.0]).view(1, 3, 1, 1)
    grey = pad(rgb.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    dx = grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2]
    dy = grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]
    gradient = avg_pool2d(torch.hypot(dx, dy) / 2, PATCH)
    return torch.cat([mean, deviation, (gradient + 0.01).log()], dim=1)[0].flatten(1).T.contiguous()


def _sampled(length: int) -> Tensor:
    """(LANDMARKS,) indices spread over 0..length-1, both ends included; short axes repeat some."""
    return torch.linspace(0, length - 1, LANDMARKS).round().long()


def _objectness(
    kernel: Tensor, landmarks: Tensor, descriptors: Tensor, height: int, width: int
) -> Tensor:
    """(N,) in [0, 1], high where a patch looks unlike the border (Zhu et al., sections 3 to 5)."""
    y, x = torch.meshgrid(_centred(height), _centred(width), indexing="ij")
    position = torch.stack([y.flatten(), x.flatten()], dim=1)
    ring = torch.ones(LANDMARKS, LANDMARKS, dtype=torch.bool)
    ring[1:-1, 1:-1] = False

    # Length of a patch's look along the border over the root of its area; 4 = a whole square.
    connectivity = 4 * kernel[:, ring.flatten()].mean(dim=1) / kernel.mean(dim=1).sqrt()
    background = 1 - torch.exp(-connectivity.square() / (2 * BACKGROUND_SCALE**2))
    contrast = (1 - kernel) @ background[landmarks] / len(landmarks)
    foreground = contrast / (contrast.max() + FAINT)
    foreground = foreground * torch.exp(-CENTRE_WEIGHT * position.square().sum(dim=1))

    saliency = _smooth(foreground, background, descriptors, height, width)
    if saliency.max() - saliency.min() < FAINT:  # nothing stands out, and Otsu needs two classes
        return torch.zeros_like(saliency)
    object_like = saliency > float(threshold_otsu(saliency.numpy()))
    high, low = saliency[object_like].mean(), saliency[~object_like].mean()
    return torch.sigmoid(STEEPNESS * (saliency - (high + low) / 2) / (high - low + FAINT))


def _centred(length: int) -> Tensor:
    """(length,) patch centres on the scale -1..1."""
    return (torch.arange(length, dtype=torch.float64) + 0.5) / length * 2 - 1


def _smooth(
    foreground: Tensor, background: Tensor, descriptors: Tensor, height: int, width: int
) -> Tensor:
    """(N,) minimiser of sum b s^2 + sum f (s - 1)^2 + sum_ij w_ij (s_i - s_j)^2."""
    index = torch.arange(height * width).view(height, width)
    pairs = ((index[:, 1:], index[:, :-1]), (index[1:], index[:-1]),
             (index[1:, 1:], index[:-1, :-1]), (index[1:, :-1], index[:-1, 1:]))  # fmt: skip
    i = torch.cat([a.flatten() for a, _ in pairs])
    j = torch.cat([b.flatten() for _, b in pairs])
    distances = (descriptors[i] - descriptors[j]).square().sum(dim=1)
    scale = 2 * distances.median() + NOTICEABLE if len(i) else 1.0
    weights = SMOOTHNESS * (torch.exp(-distances / scale) + SMOOTHNESS_FLOOR)
    upper = coo_array((weights.numpy(), (i.numpy(), j.numpy())), shape=(index.numel(),) * 2)
    graph = upper + upper.T
    data = (foreground + background).numpy()
    system = diags_array(graph.sum(axis=1) + data) - graph
    return torch.from_numpy(spsolve(system.tocsc(), foreground.numpy()))


def _nystrom(kernel: Tensor, landmarks: Tensor) -> Tensor:
    """(N, M) rows whose inner products approximate the Gaussian kernel, K_nm L^-T, L L^T = K_mm."""
    # The ridge also serves repeated landmarks of a small grid, whose rows are equal.
    core = kernel[landmarks] + 1e-4 * torch.eye(len(landmarks), dtype=kernel.dtype)
    factor = torch.linalg.cholesky(core)
    rows: Tensor = torch.linalg.solve_triangular(factor, kernel.T, upper=False)
    return rows.T
