"""Plain constructors of the course's networks, seeded by parameter name, and their costs."""

import hashlib
import math
from itertools import pairwise

import torch
from torch import nn


def stream(seed: int, name: str) -> torch.Generator:
    """An independent random stream for one purpose (`name`) of one run (`seed`)."""
    return torch.Generator().manual_seed(stream_seed(seed, name))


def stream_seed(seed: int, name: str) -> int:
    """The integer behind `stream`: 63 bits of a hash, so that neighbouring seeds share nothing."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big") >> 1


@torch.no_grad()
def initialise(model: nn.Module, seed: int) -> nn.Module:
    """Draw every parameter anew from a stream of its own (seed and parameter name), uniform in ±1/sqrt(fan_in).

    That is torch's own default for linear and convolution layers; normalisation layers start as the identity. Two networks
    with a layer of the same name and shape start with the same weights there, whatever else they contain.
    """
    for prefix, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            fan_in = module.weight[0].numel()
            for name, parameter in module.named_parameters(recurse=False):
                bound = 1 / math.sqrt(fan_in)
                parameter.uniform_(-bound, bound, generator=stream(seed, f"init/{prefix}.{name}"))
        elif list(module.parameters(recurse=False)):
            if not hasattr(module, "reset_parameters"):
                raise ValueError(f"cannot initialise {prefix} ({type(module).__name__}): it has no reset_parameters")
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(stream_seed(seed, f"init/{prefix}"))
                module.reset_parameters()
    return model


def mlp(*widths: int, dropout=(), seed: int = 0) -> nn.Module:
    """A ReLU network on flattened images: `mlp(784, 800, 800, 10)`; logits `[N, widths[-1]]`.

    `dropout`: rates for the input and each hidden layer, as in (0.2, 0.5, 0.5); empty for none.
    """
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"mlp needs at least an input and an output width, all positive; got {widths}")
    if len(dropout) not in (0, len(widths) - 1):
        raise ValueError(f"dropout needs {len(widths) - 1} rates (input and hidden layers); got {len(dropout)}")
    model = nn.Sequential()
    model.add_module("flatten", nn.Flatten())
    for depth, (fan_in, fan_out) in enumerate(pairwise(widths)):
        if dropout:
            model.add_module(f"dropout{depth}", nn.Dropout(dropout[depth]))
        model.add_module(f"linear{depth}", nn.Linear(fan_in, fan_out))
        if depth < len(widths) - 2:
            model.add_module(f"relu{depth}", nn.ReLU())
    return initialise(model, seed)


def lenet5(classes: int = 10, channels: int = 1, seed: int = 0) -> nn.Module:
    """LeNet-5 with ReLU and max-pooling, for 28×28 images; logits `[N, classes]`. Source: LeCun et al. 1998, section II."""
    model = nn.Sequential()
    model.add_module("conv0", nn.Conv2d(channels, 6, 5, padding=2))
    model.add_module("relu0", nn.ReLU())
    model.add_module("pool0", nn.MaxPool2d(2))
    model.add_module("conv1", nn.Conv2d(6, 16, 5))
    model.add_module("relu1", nn.ReLU())
    model.add_module("pool1", nn.MaxPool2d(2))
    model.add_module("flatten", nn.Flatten())
    for depth, (fan_in, fan_out) in enumerate(((400, 120), (120, 84), (84, classes))):
        model.add_module(f"linear{depth}", nn.Linear(fan_in, fan_out))
        if depth < 2:
            model.add_module(f"relu{depth + 2}", nn.ReLU())
    return initialise(model, seed)


def cnn(
    *widths: int, classes: int = 10, channels: int = 1, size: int = 28, dropout: float = 0.0, seed: int = 0
) -> nn.Module:
    """3×3 convolutions, each with batch norm, ReLU and 2×2 max-pooling, then one linear layer; logits `[N, classes]`."""
    if not widths or size >> len(widths) < 1:
        raise ValueError(f"cnn with widths {widths} does not fit images of {size} pixels: each width halves them")
    model = nn.Sequential()
    for depth, (fan_in, fan_out) in enumerate(zip((channels, *widths), widths)):
        model.add_module(f"conv{depth}", nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=False))
        # Pooling before normalising and ReLU gives the same kind of unit for a quarter of the element-wise work.
        model.add_module(f"pool{depth}", nn.MaxPool2d(2))
        model.add_module(f"norm{depth}", nn.BatchNorm2d(fan_out))
        model.add_module(f"relu{depth}", nn.ReLU())
    model.add_module("flatten", nn.Flatten())
    if dropout:
        model.add_module("dropout", nn.Dropout(dropout))
    model.add_module("linear", nn.Linear(widths[-1] * (size >> len(widths)) ** 2, classes))
    return initialise(model, seed)


class _Residual(nn.Module):
    """The basic block of He et al. 2016 for CIFAR, with the parameter-free shortcut (their option A)."""

    def __init__(self, fan_in: int, fan_out: int, stride: int):
        super().__init__()
        self.conv0 = nn.Conv2d(fan_in, fan_out, 3, stride, 1, bias=False)
        self.norm0 = nn.BatchNorm2d(fan_out)
        self.conv1 = nn.Conv2d(fan_out, fan_out, 3, 1, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(fan_out)
        self.stride, self.extra = stride, fan_out - fan_in

    def forward(self, x):
        shortcut = x[:, :, :: self.stride, :: self.stride]
        shortcut = nn.functional.pad(shortcut, (0, 0, 0, 0, self.extra // 2, self.extra - self.extra // 2))
        x = torch.relu(self.norm0(self.conv0(x)))
        return torch.relu(self.norm1(self.conv1(x)) + shortcut)


def resnet(depth: int = 20, width: int = 16, classes: int = 10, channels: int = 3, seed: int = 0) -> nn.Module:
    """The CIFAR residual network of `depth` = 6n+2 layers; logits `[N, classes]`. Source: He et al. 2016, section 4.2."""
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"resnet depth is {depth}; expected 6n+2 (8, 14, 20, 32, 44, 56, 110)")
    model = nn.Sequential()
    model.add_module("conv", nn.Conv2d(channels, width, 3, padding=1, bias=False))
    model.add_module("norm", nn.BatchNorm2d(width))
    model.add_module("relu", nn.ReLU())
    fan_in = width
    for stage in range(3):
        for block in range((depth - 2) // 6):
            fan_out, stride = width << stage, 2 if stage and not block else 1
            model.add_module(f"stage{stage}block{block}", _Residual(fan_in, fan_out, stride))
            fan_in = fan_out
    model.add_module("pool", nn.AdaptiveAvgPool2d(1))
    model.add_module("flatten", nn.Flatten())
    model.add_module("linear", nn.Linear(fan_in, classes))
    return initialise(model, seed)


def count_parameters(model: nn.Module) -> int:
    """How many numbers the optimiser may change."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def count_flops(model: nn.Module, image_shape: tuple[int, ...] = (1, 28, 28)) -> int:
    """Floating-point operations (2 per multiply-add) of one image's forward pass, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    training = model.training
    where = next(model.parameters()).device
    with counter, torch.no_grad():
        model.eval()(torch.zeros(1, *image_shape, device=where))
    model.train(training)
    return counter.get_total_flops()


class _Stack(nn.Module):
    """Copies of one ReLU network computed side by side: the first layer as one product, the others as batched ones."""

    def __init__(self, network: nn.Module, copies: int):
        super().__init__()
        self.copies = copies
        layers = [layer for layer in network if isinstance(layer, nn.Linear)]
        # [S, in, out] and [S, 1, out], ready for baddbmm; the first layer as [S·out, in], ready for one product.
        first, *others = layers
        self.weight0 = nn.Parameter(first.weight.detach().repeat(copies, 1))
        self.bias0 = nn.Parameter(first.bias.detach().repeat(copies))
        self.weights = nn.ParameterList(layer.weight.detach().t().repeat(copies, 1, 1) for layer in others)
        self.biases = nn.ParameterList(layer.bias.detach().repeat(copies, 1, 1) for layer in others)

    def forward(self, images):
        x = nn.functional.linear(images.flatten(1), self.weight0, self.bias0)
        x = x.view(len(x), self.copies, -1).transpose(0, 1)  # [S, N, width]
        for weight, bias in zip(self.weights, self.biases):
            x = torch.baddbmm(bias, torch.relu(x), weight)
        return x.transpose(0, 1)


def mlp_stack(*widths: int, copies: int, seed: int = 0) -> nn.Module:
    """`copies` networks `mlp(*widths, seed=seed)`, born alike and computed together; logits `[N, copies, widths[-1]]`.

    With a loss that is the sum of the copies' own losses (see `losses.soft_targets_each`) every copy learns as it would alone:
    no weight has a gradient from another copy, and Adam treats every weight by itself. Small networks leave most of a processor idle
    one by one. Raises ValueError for less than one copy.
    """
    if copies < 1:
        raise ValueError(f"copies is {copies}; expected at least 1")
    return _Stack(mlp(*widths, seed=seed), copies)


# Mirzadeh's plain networks for ten classes: widths of the convolutions between poolings, then of the hidden linear layers.
_PLAIN = {
    2: ([[16], [16]], []),
    4: ([[16, 16], [32, 32]], []),
    6: ([[16, 16], [32, 32], [64, 64]], []),
    8: ([[16, 16], [32, 32], [64, 64], [128, 128]], [64]),
    10: ([[32, 32], [64, 64], [128, 128], [256, 256, 256, 256]], [128]),
}


def plain_cnn(
    layers: int, width: float = 1.0, classes: int = 10, channels: int = 3, size: int = 32, seed: int = 0
) -> nn.Module:
    """The plain network with 2, 4, 6, 8 or 10 convolutions, every width times `width`; logits `[N, classes]`.

    Stages of 3×3 convolutions with batch norm and ReLU, each followed by 2×2 max-pooling, then linear layers. Poolings round up, which changes nothing at
    32 pixels and lets 14 be halved four times. Raises ValueError for another number of layers, widths below 1 and images that cannot be
    pooled so often. Source: Mirzadeh et al. 2020, section 4 and its code (networks for CIFAR-10).
    """
    if layers not in _PLAIN:
        raise ValueError(f"a plain network has {', '.join(map(str, _PLAIN))} layers; got {layers}")
    stages, hidden = _PLAIN[layers]
    if not width * stages[0][0] >= 1 or size < 2 ** (len(stages) - 1) + 1:
        raise ValueError(f"width {width:g} and images of {size} pixels do not fit a plain network of {layers} layers")
    model, fan_in, depth = nn.Sequential(), channels, 0
    for stage, widths in enumerate(stages):
        for position, fan_out in enumerate(int(width * each) for each in widths):
            model.add_module(f"conv{depth}", nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=False))
            model.add_module(f"norm{depth}", nn.BatchNorm2d(fan_out))
            # Max and ReLU may change places: the same function, on a quarter of the numbers.
            if position + 1 == len(widths):
                model.add_module(f"pool{stage}", nn.MaxPool2d(2, ceil_mode=True))
            model.add_module(f"relu{depth}", nn.ReLU())
            fan_in, depth = fan_out, depth + 1
        size = -(-size // 2)
    model.add_module("flatten", nn.Flatten())
    fan_in *= size**2
    for position, fan_out in enumerate(int(width * each) for each in hidden):
        model.add_module(f"hidden{position}", nn.Linear(fan_in, fan_out))
        model.add_module(f"relu{depth + position}", nn.ReLU())
        fan_in = fan_out
    model.add_module("linear", nn.Linear(fan_in, classes))
    return initialise(model, seed)


def deep_cnn(
    *widths: int,
    pools: tuple[int, ...] = (),
    norm: bool = True,
    classes: int = 10,
    channels: int = 1,
    size: int = 28,
    seed: int = 0,
) -> nn.Module:
    """3×3 convolutions with ReLU, as many as `widths`, 2×2 max-pooling after those counted in `pools` (from 1 on), one linear layer; logits `[N, classes]`.

    `relu0`, `relu1`, … are the outputs of layers 1, 2, …, after their pooling. norm: batch norm in every layer; without it a deep one is hard to
    train. Raises ValueError for pools beyond the layers or more of them than `size` can take. Source of the shape: Romero et al. 2015 (FitNets), table 3.
    """
    pools = tuple(pools)
    if not widths or any(not 1 <= layer <= len(widths) for layer in pools) or size >> len(set(pools)) < 1:
        raise ValueError(
            f"widths {widths} with pooling after layers {pools} do not fit images of {size} pixels; "
            f"expected layers from 1 to {len(widths)}, each halving the image"
        )
    model = nn.Sequential()
    for depth, (fan_in, fan_out) in enumerate(zip((channels, *widths), widths)):
        model.add_module(f"conv{depth}", nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=not norm))
        if depth + 1 in pools:
            model.add_module(f"pool{depth}", nn.MaxPool2d(2))
        if norm:
            model.add_module(f"norm{depth}", nn.BatchNorm2d(fan_out))
        model.add_module(f"relu{depth}", nn.ReLU())
    model.add_module("flatten", nn.Flatten())
    model.add_module("linear", nn.Linear(widths[-1] * (size >> len(set(pools))) ** 2, classes))
    return initialise(model, seed)


class _Tokens(nn.Module):
    """Square patches of an image, each embedded by one linear layer, plus a learned vector for its place."""

    def __init__(self, patch: int, channels: int, size: int, width: int):
        super().__init__()
        self.patch = patch
        self.embed = nn.Linear(channels * patch**2, width)
        self.position = nn.Parameter(torch.zeros(math.ceil(size / patch) ** 2, width))

    def reset_parameters(self):
        nn.init.normal_(self.position, std=0.02)

    def forward(self, images):
        p, lacking = self.patch, -images.shape[2] % self.patch
        images = nn.functional.pad(images, (lacking // 2, lacking - lacking // 2) * 2)
        n, c, height, width = images.shape
        patches = images.reshape(n, c, height // p, p, width // p, p).permute(0, 2, 4, 1, 3, 5)
        return self.embed(patches.reshape(n, (height // p) * (width // p), c * p * p)) + self.position


class _AttentionBlock(nn.Module):
    """Self-attention and a two-layer network on every token, each with layer norm before and a shortcut around it."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm0, self.norm1 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        n, tokens, width = x.shape
        parts = self.query_key_value(self.norm0(x)).view(n, tokens, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        # Written out: on CPUs the backward pass of the fused kernel takes nine times as long in bfloat16.
        weights = torch.softmax(query @ key.transpose(2, 3) / math.sqrt(width // self.heads), dim=3)
        x = x + self.mix((weights @ value).transpose(1, 2).reshape(n, tokens, width))
        return x + self.narrow(torch.relu(self.widen(self.norm1(x))))


class _MeanToken(nn.Module):
    def forward(self, tokens):
        return tokens.mean(dim=1)


def attention_net(
    width: int = 32,
    blocks: int = 2,
    heads: int = 2,
    patch: int = 4,
    classes: int = 10,
    channels: int = 1,
    size: int = 28,
    seed: int = 0,
) -> nn.Module:
    """A small vision transformer: square patches, `blocks` blocks of self-attention, the mean of the tokens, one linear layer; logits `[N, classes]`.

    Images are padded with zeros until patches of `patch` pixels tile them. Raises ValueError when heads do not divide the width.
    Source: Dosovitskiy et al. 2021, section 3.1 (here the mean of the tokens instead of a class token).
    """
    if min(width, blocks, heads, patch) < 1 or width % heads or patch > size:
        raise ValueError(
            f"width {width}, {blocks} blocks, {heads} heads, patches of {patch} for {size} pixels; expected positive numbers, "
            f"heads that divide the width, patches no larger than the image"
        )
    model = nn.Sequential()
    model.add_module("tokens", _Tokens(patch, channels, size, width))
    for depth in range(blocks):
        model.add_module(f"block{depth}", _AttentionBlock(width, heads))
    model.add_module("mean", _MeanToken())
    model.add_module("norm", nn.LayerNorm(width))
    model.add_module("linear", nn.Linear(width, classes))
    return initialise(model, seed)
