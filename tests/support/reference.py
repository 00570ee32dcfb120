"""MUNIT written plainly from the published equations, in float64 and in their order, sharing nothing with the library.

Huang et al., ECCV 2018, equations 1 to 5 and the appendix; AdaIN from Huang & Belongie 2017, the adversarial loss from
Mao et al. 2017, Adam from Kingma & Ba 2015. A network is the dictionary of its parameters.
"""

import torch
import torch.nn.functional as F


def parameters(module):
    return {name: value.detach().clone().requires_grad_() for name, value in module.named_parameters()}


def indices(network, prefix):
    """How many layers a network has below a prefix, as a range."""
    return range(len({name.removeprefix(prefix).split(".")[0] for name in network if name.startswith(prefix)}))


def convolve(network, name, image, stride=1):
    weight, bias = network[f"{name}.weight"], network[f"{name}.bias"]
    margin = (weight.shape[-1] - 1) // 2
    for axis in (2, 3):
        length = image.shape[axis]
        reflected = [abs(i) if i < length else 2 * (length - 1) - i for i in range(-margin, length + margin)]
        image = image.index_select(axis, torch.tensor(reflected))
    return F.conv2d(image, weight, bias, stride)


def instance_norm(features):
    mean = features.mean((2, 3), keepdim=True)
    variance = ((features - mean) ** 2).mean((2, 3), keepdim=True)
    return (features - mean) / torch.sqrt(variance + 1e-5)


def layer_norm(network, name, features):
    normalised = []
    for sample in features:
        mean = sample.mean()
        std = torch.sqrt(((sample - mean) ** 2).sum() / (sample.numel() - 1))
        normalised.append((sample - mean) / (std + 1e-5))
    gain, shift = network[f"{name}.gain"], network[f"{name}.shift"]
    return torch.stack(normalised) * gain[:, None, None] + shift[:, None, None]


def encode_content(network, image):
    features = F.relu(instance_norm(convolve(network, "content.stem", image)))
    for level in indices(network, "content.down."):
        features = F.relu(instance_norm(convolve(network, f"content.down.{level}", features, stride=2)))
    for block in indices(network, "content.residual."):
        inner = F.relu(instance_norm(convolve(network, f"content.residual.{block}.first", features)))
        features = features + instance_norm(convolve(network, f"content.residual.{block}.second", inner))
    return features


def encode_style(network, image):
    features = F.relu(convolve(network, "style.stem", image))
    for level in indices(network, "style.down."):
        features = F.relu(convolve(network, f"style.down.{level}", features, stride=2))
    pooled = features.sum((2, 3)) / (features.shape[2] * features.shape[3])
    weight = network["style.head.weight"][:, :, 0, 0]
    return pooled @ weight.T + network["style.head.bias"]


def decode(network, content, style):
    hidden = style
    for layer in (0, 2, 4):
        hidden = hidden @ network[f"decode.adain.{layer}.weight"].T + network[f"decode.adain.{layer}.bias"]
        hidden = torch.relu(hidden) if layer < 4 else hidden
    channels = content.shape[1]
    pieces = iter(hidden.split(channels, dim=1))  # for each layer its shift, then its scale

    def adain(features):
        shift, scale = next(pieces), next(pieces)
        return scale[:, :, None, None] * instance_norm(features) + shift[:, :, None, None]

    features = content
    for block in indices(network, "decode.residual."):
        inner = F.relu(adain(convolve(network, f"decode.residual.{block}.first", features)))
        features = features + adain(convolve(network, f"decode.residual.{block}.second", inner))
    assert next(pieces, None) is None
    for level in indices(network, "decode.up."):
        enlarged = features.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        features = F.relu(
            layer_norm(network, f"decode.norm.{level}", convolve(network, f"decode.up.{level}", enlarged))
        )
    return torch.tanh(convolve(network, "decode.head", features))


def discriminate(network, image):
    """Scores at every scale."""
    scores = []
    for scale in indices(network, "scales."):
        last = len(indices(network, f"scales.{scale}.")) - 1
        features = image
        for layer in range(last):
            features = convolve(network, f"scales.{scale}.{2 * layer}", features, stride=2)
            features = torch.where(features > 0, features, 0.2 * features)
        scores.append(convolve(network, f"scales.{scale}.{2 * last}", features))
        image = halve(image)
    return scores


def halve(image):
    """Mean of the neighbours (3 x 3) that lie in the image, at every second pixel."""
    rows = []
    for y in range(0, image.shape[2], 2):
        row = [
            image[:, :, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].mean((2, 3)) for x in range(0, image.shape[3], 2)
        ]
        rows.append(torch.stack(row, dim=-1))
    return torch.stack(rows, dim=-2)


def l1(a, b):
    return (a - b).abs().sum() / a.numel()


class Adam:
    """With the decay of the weights added to the gradient."""

    def __init__(self, networks, learning_rate, betas, decay):
        self.values = [value for network in networks for value in network.values()]
        self.means = [torch.zeros_like(value) for value in self.values]
        self.squares = [torch.zeros_like(value) for value in self.values]
        self.learning_rate, self.betas, self.decay, self.count = learning_rate, betas, decay, 0

    @torch.no_grad()
    def minimise(self, loss):
        gradients = torch.autograd.grad(loss, self.values, allow_unused=True)
        self.count += 1
        for value, gradient, mean, square in zip(self.values, gradients, self.means, self.squares, strict=True):
            gradient = self.decay * value + (0 if gradient is None else gradient)
            mean.copy_(self.betas[0] * mean + (1 - self.betas[0]) * gradient)
            square.copy_(self.betas[1] * square + (1 - self.betas[1]) * gradient**2)
            corrected = mean / (1 - self.betas[0] ** self.count)
            spread = torch.sqrt(square / (1 - self.betas[1] ** self.count))
            value -= self.learning_rate * corrected / (spread + 1e-8)


class Munit:
    """Two domains, 1 and 2; x_21 is an image of domain 2 in the look of domain 1."""

    def __init__(self, library, learning_rate, betas, decay):
        self.gen_1, self.gen_2 = parameters(library.source), parameters(library.target)
        self.dis_1, self.dis_2 = parameters(library.source_discriminator), parameters(library.target_discriminator)
        self.generators = Adam([self.gen_1, self.gen_2], learning_rate, betas, decay)
        self.discriminators = Adam([self.dis_1, self.dis_2], learning_rate, betas, decay)

    def update_discriminators(self, x_1, x_2, s_1, s_2, weight):
        x_21 = decode(self.gen_1, encode_content(self.gen_2, x_2), s_1).detach()
        x_12 = decode(self.gen_2, encode_content(self.gen_1, x_1), s_2).detach()
        loss = 0
        for network, real, fake in ((self.dis_1, x_1, x_21), (self.dis_2, x_2, x_12)):
            for score in discriminate(network, real):
                loss = loss + ((score - 1) ** 2).mean()
            for score in discriminate(network, fake):
                loss = loss + (score**2).mean()
        self.discriminators.minimise(weight * loss)
        return loss.detach()

    def update_generators(self, x_1, x_2, s_1, s_2, weights):
        c_1, c_2 = encode_content(self.gen_1, x_1), encode_content(self.gen_2, x_2)
        s_1_own, s_2_own = encode_style(self.gen_1, x_1), encode_style(self.gen_2, x_2)
        x_21, x_12 = decode(self.gen_1, c_2, s_1), decode(self.gen_2, c_1, s_2)
        c_2_again, s_1_again = encode_content(self.gen_1, x_21), encode_style(self.gen_1, x_21)
        c_1_again, s_2_again = encode_content(self.gen_2, x_12), encode_style(self.gen_2, x_12)
        losses = {
            "adversarial": sum(
                ((score - 1) ** 2).mean() for score in discriminate(self.dis_1, x_21) + discriminate(self.dis_2, x_12)
            ),
            "image": l1(decode(self.gen_1, c_1, s_1_own), x_1) + l1(decode(self.gen_2, c_2, s_2_own), x_2),
            "style": l1(s_1_again, s_1) + l1(s_2_again, s_2),
            "content": l1(c_1_again, c_1) + l1(c_2_again, c_2),
            "cycle": l1(decode(self.gen_1, c_1_again, s_1_own), x_1) + l1(decode(self.gen_2, c_2_again, s_2_own), x_2),
        }
        total = sum(weights[name] * loss for name, loss in losses.items())
        self.generators.minimise(total)
        return {"generator": total.detach()} | {name: loss.detach() for name, loss in losses.items()}
