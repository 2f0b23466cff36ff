"""Made-up transfer sets against slow references: networks, noise, records, images by optimisation, the generator's objective and its duel."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kdcourse import data, datafree, models, training


def some(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- networks ----


@torch.no_grad()
def test_scaled_lenet_is_lenet5_at_width_one():
    ours, theirs = datafree.scaled_lenet(seed=3), models.lenet5(seed=3)
    images = torch.rand(5, 1, 28, 28)
    torch.testing.assert_close(ours(images), theirs(images))
    assert models.count_parameters(ours) == 61_706
    assert models.count_parameters(datafree.scaled_lenet(0.5)) == 15_738  # DAFL's table: 62K and 16K


@torch.no_grad()
@pytest.mark.parametrize("size", [14, 28, 32])
def test_scaled_lenet_of_other_sizes(size):
    model = datafree.scaled_lenet(0.5, size, norm=True, channels=3, seed=1).eval()
    assert model(torch.rand(2, 3, size, size)).shape == (2, 10)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model) == 2
    for bad in ({"width": 0.2}, {"size": 8}):
        with pytest.raises(ValueError, match="at least 1/3 and 12 pixels"):
            datafree.scaled_lenet(**bad)


@torch.no_grad()
def test_perceptron_is_the_mlp_of_its_widths():
    images = torch.rand(6, 1, 14, 14)
    torch.testing.assert_close(datafree.perceptron(20, 14, seed=3)(images), models.mlp(196, 20, 20, 10, seed=3)(images))
    normed = datafree.perceptron(20, 14, norm=True, seed=3).eval()
    # At its birth batch norm divides by the square root of 1 + ε and does nothing else.
    torch.testing.assert_close(normed(images), models.mlp(196, 20, 20, 10, seed=3)(images), rtol=1e-3, atol=1e-4)
    assert sum(isinstance(m, nn.BatchNorm1d) for m in normed) == 2


@pytest.mark.parametrize("kind", ["perceptron", "lenet"])
def test_networks_abreast_are_what_they_are_alone(kind):
    networks = [datafree.network(kind, True, 14, seed=seed) for seed in (1, 2, 3)]
    together, images = datafree.abreast(networks), torch.rand(8, 3, 14, 14)
    alone = torch.cat([network(images[:, s : s + 1]) for s, network in enumerate(networks)], dim=1)
    torch.testing.assert_close(together(images), alone, rtol=1e-4, atol=1e-5)
    # A student's gradient comes from its own loss.
    together(images)[:, 10:20].sum().backward()
    touched = torch.stack([p.grad.abs().flatten(1).amax(dim=1) for p in together.parameters()]).amax(dim=0) if kind == "perceptron" else None
    if kind == "perceptron":
        assert touched[1] > 0
        assert touched[0] == touched[2] == 0
    one = networks[0]
    assert models.count_parameters(datafree.abreast([one, one])) == 2 * models.count_parameters(one)  # copies, not twice the same
    for bad in ([], [datafree.perceptron(5), datafree.perceptron(6)]):
        with pytest.raises(ValueError, match="all of one shape"):
            datafree.abreast(bad)


def test_networks_abreast_learn_as_they_would_alone():
    images, targets = torch.rand(60, 2, 14, 14), torch.randn(60, 20)
    one = datafree.perceptron(12, 14, seed=1)
    together = datafree.abreast([one, one])
    settings = {"epochs": 3, "batch_size": 20, "learning_rate": 1e-2, "seed": 4, "dtype": torch.float32}

    def absolute(model, batch):
        return F.l1_loss(model(batch.images), batch.targets)

    zeros = torch.zeros(60, dtype=torch.int64)
    training.fit(together, data.Split(images, zeros), lambda m, b: 2 * absolute(m, b), targets=targets, **settings)
    second = datafree.perceptron(12, 14, seed=1)
    training.fit(second, data.Split(images[:, 1:], zeros), absolute, targets=targets[:, 10:], **settings)
    torch.testing.assert_close(training.predict_logits(together, images)[:, 10:], training.predict_logits(second, images[:, 1:]), rtol=1e-3, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("size", [14, 28])
def test_generator_makes_images_with_the_two_numbers(size):
    make = datafree.upsampling_generator
    one, two = (make(0.13, 0.31, 8, 6, size, seed=2) for _ in range(2))
    z = torch.randn(16, 8)
    images = one(z)
    assert images.shape == (16, 1, size, size)
    assert images.mean().item() == pytest.approx(0.13, abs=1e-4)
    assert images.std(unbiased=False).item() == pytest.approx(0.31, rel=1e-2)
    assert torch.equal(images, two(z))
    assert not torch.equal(images, make(0.13, 0.31, 8, 6, size, seed=3)(z))


def test_upsampling_generator_refuses():
    for bad in (7, 20, 21, 32):
        with pytest.raises(ValueError, match="expected 14, 28"):
            datafree.upsampling_generator(0.1, 0.3, size=bad)
    with pytest.raises(ValueError, match="at least 2 channels"):
        datafree.upsampling_generator(0.1, 0.3, width=1)
    with pytest.raises(ValueError, match="unknown kind"):
        datafree.network("resnet")


# ---- inputs that cost nothing ----


def test_pixel_noise_has_the_moments_asked_for():
    normal, uniform = datafree.pixel_noise(500, 14, 0.13, 0.31, seed=1), datafree.pixel_noise(500, 14, seed=1)
    assert normal.mean().item() == pytest.approx(0.13, abs=0.005)
    assert normal.std().item() == pytest.approx(0.31, abs=0.005)
    assert 0 <= uniform.min() < 0.001 < 0.999 < uniform.max() <= 1
    assert uniform.var().item() == pytest.approx(1 / 12, abs=0.001)
    neighbours = torch.corrcoef(torch.stack([normal[..., 1:].flatten(), normal[..., :-1].flatten()]))[0, 1]
    assert abs(neighbours) < 0.02
    assert torch.equal(normal, datafree.pixel_noise(500, 14, 0.13, 0.31, seed=1))
    assert not torch.equal(normal, datafree.pixel_noise(500, 14, 0.13, 0.31, seed=2))
    with pytest.raises(ValueError, match="std is -1"):
        datafree.pixel_noise(1, 14, std=-1.0)


def test_smooth_noise_is_an_average_of_neighbours():
    images = datafree.smooth_noise(300, 14, 0.13, 0.31, reach=2, seed=6)
    rough = datafree.pixel_noise(300, 14, 0.0, 1.0, seed=6).double()
    weights = {-2: 1 / 16, -1: 4 / 16, 0: 6 / 16, 1: 4 / 16, 2: 1 / 16}  # (1, 2, 1) twice
    expected = sum(weights[a] * weights[b] * rough.roll((a, b), (2, 3)) for a in weights for b in weights)
    torch.testing.assert_close(images.double(), 0.13 + 0.31 * expected / expected.std(), rtol=1e-4, atol=1e-5)
    assert images.std().item() == pytest.approx(0.31, rel=1e-4)
    assert torch.corrcoef(torch.stack([images[..., 1:].flatten(), images[..., :-1].flatten()]))[0, 1] > 0.7
    torch.testing.assert_close(datafree.smooth_noise(5, 14, 0.0, 1.0, reach=0, seed=6).std(), torch.tensor(1.0))
    with pytest.raises(ValueError, match="reach is -1"):
        datafree.smooth_noise(1, 14, 0.1, 0.3, reach=-1)


def test_random_strokes_are_the_nearest_point_of_their_curves():
    images = datafree.random_strokes(3, 14, strokes=1, seed=4)
    draw = models.stream(4, "strokes")
    corners = 0.1 + 0.8 * torch.rand(3, 1, 2, 3, generator=draw)
    thickness = 0.03 + 0.05 * torch.rand(3, 1, 1, 1, generator=draw)
    for n in range(3):
        for i in range(14):
            for j in range(14):
                least = math.inf
                for k in range(28):
                    t = k / 27
                    y, x = (
                        float((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c) for a, b, c in corners[n, 0].tolist()
                    )
                    least = min(least, ((i + 0.5) / 14 - y) ** 2 + ((j + 0.5) / 14 - x) ** 2)
                assert images[n, 0, i, j].item() == pytest.approx(math.exp(-least / thickness[n].item() ** 2), abs=1e-4)
    many = datafree.random_strokes(600, 14, seed=4)
    assert many.shape == (600, 1, 14, 14)
    assert (many.flatten(1).max(dim=1).values > 0.5).all()
    assert many[:, :, 0].mean() < 0.3 * many.mean()  # dark margins
    with pytest.raises(ValueError, match="at least 1"):
        datafree.random_strokes(1, 14, strokes=0)


# ---- records ----


def test_batch_norm_sees_what_a_loop_sees():
    model = datafree.scaled_lenet(size=14, norm=True, seed=1)
    model.train()
    for k in range(3):
        model(torch.rand(40, 1, 14, 14, generator=models.stream(k, "x")))
    model.eval()
    images = torch.rand(6, 1, 14, 14)
    with datafree.seen_by_batch_norm(model) as seen, torch.no_grad():
        model(images)
    expected, values = 0.0, images
    with torch.no_grad():
        for name, module in model.named_children():
            if isinstance(module, nn.BatchNorm2d):
                for k in range(values.shape[1]):
                    channel = values[:, k].double()
                    mean, variance = channel.mean(), ((channel - channel.mean()) ** 2).mean()
                    pair = seen[int(name[-1])]
                    assert pair[0][k].item() == pytest.approx(mean.item(), abs=1e-5)
                    assert pair[1][k].item() == pytest.approx(variance.item(), abs=1e-5)
                expected += float((seen[int(name[-1])][0] - module.running_mean).pow(2).sum().sqrt())
                expected += float((seen[int(name[-1])][1] - module.running_var).pow(2).sum().sqrt())
            values = module(values)
    assert datafree.batch_norm_distance(model, seen).item() == pytest.approx(expected, rel=1e-5)
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_batch_norm_distance_is_zero_for_the_recorded_batch_and_has_gradients():
    model, images = datafree.scaled_lenet(size=14, norm=True, seed=1).eval(), torch.rand(9, 1, 14, 14, requires_grad=True)
    for _ in range(2):  # the second layer's input depends on the first layer's record
        with datafree.seen_by_batch_norm(model) as seen, torch.no_grad():
            model(images)
        for layer, (mean, variance) in zip([model.norm0, model.norm1], seen):
            layer.running_mean, layer.running_var = mean.clone(), variance.clone()
    with datafree.seen_by_batch_norm(model) as seen, torch.no_grad():
        model(images)
    assert datafree.batch_norm_distance(model, seen).item() < 1e-4
    with datafree.seen_by_batch_norm(model) as seen:
        model(images * 0.5)
    datafree.batch_norm_distance(model, seen).backward()
    assert images.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="one forward pass"):
        datafree.batch_norm_distance(model, seen[:1])
    with pytest.raises(ValueError, match="no batch norm"), datafree.seen_by_batch_norm(models.lenet5()):
        pass


def test_class_moments_by_loops():
    values, labels = some(30, 4), torch.arange(30) % 3
    record = datafree.class_moments(values, labels)
    for c in range(3):
        own = [values[n] for n in range(30) if labels[n] == c]
        mean = sum(own) / 10
        torch.testing.assert_close(record["mean"][c].double(), mean, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(record["std"][c].double(), (sum((v - mean) ** 2 for v in own) / 10).sqrt(), rtol=1e-5, atol=1e-6)
    assert datafree.record_bytes(record) == 4 * (12 + 12)
    for bad in ((values, labels[:5]), (values[:, 0], labels), (values, torch.where(labels == 1, 2, labels))):
        with pytest.raises(ValueError, match=r"expected"):
            datafree.class_moments(*bad)


# ---- images by optimisation ----


def test_total_variation_by_loops():
    images = some(2, 3, 4, 5)
    down = [abs(images[n, c, i + 1, j] - images[n, c, i, j]) for n in range(2) for c in range(3) for i in range(3) for j in range(5)]
    across = [abs(images[n, c, i, j + 1] - images[n, c, i, j]) for n in range(2) for c in range(3) for i in range(4) for j in range(4)]
    expected = sum(down) / len(down) + sum(across) / len(across)
    assert datafree.total_variation(images).item() == pytest.approx(float(expected))


def test_optimised_images_reach_a_target_whatever_the_batch():
    target, start = torch.rand(7, 1, 4, 4) * 0.8 + 0.1, torch.rand(7, 1, 4, 4)

    def objective(images, index):
        return (images - target.to(images.device)[index]).pow(2).flatten(1).sum(dim=1).mean()

    whole, parts = (datafree.optimise_images(start, objective, 300, 0.1, batch_size=size) for size in (7, 3))
    assert (whole - target).abs().max() < 0.01
    torch.testing.assert_close(whole, parts, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="expected 0 to 1"):
        datafree.optimise_images(start * 3, objective, 3)
    with pytest.raises(FloatingPointError, match="step 1"):
        datafree.optimise_images(start, lambda images, index: images.sum() * float("nan"), 3)


def test_made_up_images_are_called_what_they_were_made_for():
    teacher = models.mlp(196, 10, seed=1).eval().requires_grad_(False)
    labels = torch.arange(30) % 10

    def objective(images, index):
        return F.cross_entropy(teacher(images).float(), labels[index])

    before = datafree.pixel_noise(30, 14, seed=1)
    after = datafree.optimise_images(before, objective, 100, 0.3)
    right = [(training.predict_logits(teacher, images).argmax(dim=1) == labels).double().mean() for images in (before, after)]
    assert right[0] < 0.3
    assert right[1] > 0.8


# ---- a generator against the teacher ----


def test_generator_objective_is_its_formula():
    answers, pupil = 3 * some(12, 5), some(12, 5, seed=1)
    p = F.softmax(answers, dim=1)
    adversary = -sum(abs(float(pupil[n, k] - answers[n, k])) for n in range(12) for k in range(5)) / 60
    one_hot = -sum(math.log(float(p[n].max())) for n in range(12)) / 12
    mean = [float(p[:, k].mean()) for k in range(5)]
    balance = sum(m * math.log(m) for m in mean)
    weights = {"adversary": 2.0, "one_hot": 0.5, "balance": 7.0}
    expected = 2 * adversary + 0.5 * one_hot + 7 * balance
    assert datafree.generator_objective(answers, pupil, weights).item() == pytest.approx(expected)
    assert datafree.generator_objective(answers, None, {"balance": 1.0}).item() == pytest.approx(balance)
    even = torch.eye(5, dtype=torch.float64) * 50
    assert datafree.generator_objective(even, None, {"balance": 1.0}).item() == pytest.approx(-math.log(5))
    with pytest.raises(ValueError, match="unknown term 'adversry'"):
        datafree.generator_objective(answers, pupil, {"adversry": 1.0})


def test_balance_has_a_gradient_where_a_class_is_never_seen():
    logits = torch.tensor([[200.0, 0.0, -300.0], [180.0, 20.0, -300.0]], requires_grad=True)
    value = datafree.generator_objective(logits, None, {"balance": 1.0})
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


DUEL = {"student_steps": 2, "batch_size": 32, "learning_rate": 5e-3, "generator_rate": 5e-3, "seed": 1}


def networks(size=14):
    teacher = datafree.scaled_lenet(size=size, norm=True, seed=1)
    return teacher, datafree.scaled_lenet(0.5, size, seed=2), datafree.upsampling_generator(0.2, 0.3, 8, 4, size, seed=2)


def test_duel_leaves_the_teacher_alone_and_is_repeatable():
    records = []
    for _ in range(2):
        teacher, student, generator = networks()
        before = {name: value.clone() for name, value in teacher.state_dict().items()}
        watch = data.Split(torch.rand(20, 1, 14, 14, generator=models.stream(0, "w")), torch.zeros(20, dtype=torch.int64))
        settings = DUEL | {"iterations": 12, "keep": 30, "watch": watch, "watch_every": 5}
        weights = {"adversary": 1.0, "one_hot": 1.0, "balance": 1.0}
        records.append(datafree.generator_duel(teacher, student, generator, weights=weights, **settings))
        assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
        assert all(p.requires_grad for p in student.parameters())
    one, two = records
    assert one["loss"] == two["loss"]
    assert torch.equal(one["images"], two["images"])
    assert one["init"] == datafree.born(networks()[1])
    assert one["steps"] == 24
    assert [at for at, _ in one["watched"]] == [5, 10, 12]
    assert one["images"].shape == (30, 1, 14, 14)


def test_generator_goes_where_its_objective_sends_it():
    found = {}
    for name, sign in {"apart": 1.0, "together": -1.0}.items():
        teacher, student, generator = networks()
        for parameter in (*teacher.parameters(), *student.parameters()):
            parameter.data *= 2  # networks whose answers depend on what they see
        quiet = DUEL | {"iterations": 80, "learning_rate": 1e-9}  # a student that hardly learns
        found[name] = datafree.generator_duel(teacher, student, generator, weights={"adversary": sign}, **quiet)["disagreement"]
    assert found["apart"][0] == found["together"][0]
    assert found["apart"][-1] > 1.1 * found["apart"][0]
    assert found["together"][-1] < 0.9 * found["together"][0]


def test_idle_generator_stays_as_it_was_born_and_its_student_learns():
    teacher, student, generator = networks()
    before = [p.detach().clone() for p in generator.parameters()]
    record = datafree.generator_duel(teacher, student, generator, weights={}, **DUEL | {"iterations": 60, "generator_rate": 0.0})
    assert all(torch.equal(a, b) for a, b in zip(before, generator.parameters()))
    assert record["loss"][-1] < 0.5 * record["loss"][0]
    gap = (training.predict_logits(student, record["images"]) - training.predict_logits(teacher, record["images"])).abs().mean()
    assert gap < 0.5 * record["loss"][0]


def test_company_is_learned_from_too():
    company = torch.rand(50, 1, 14, 14, generator=models.stream(0, "company"))
    gaps = []
    for guests in (None, company):
        teacher, student, generator = networks()
        datafree.generator_duel(teacher, student, generator, weights={}, company=guests, **DUEL | {"iterations": 80, "generator_rate": 0.0})
        gaps.append((training.predict_logits(student, company) - training.predict_logits(teacher, company)).abs().mean())
    assert gaps[1] < 0.7 * gaps[0]


@pytest.mark.parametrize(("name", "value"), [("iterations", 0), ("student_steps", 0), ("keep", 0), ("batch_size", 1)])
def test_duel_refuses(name, value):
    with pytest.raises(ValueError, match=f"{name} is too small"):
        datafree.generator_duel(*networks(), weights={}, **DUEL | {"iterations": 3, name: value})


# ---- teachers ----


@pytest.mark.parametrize("kind", ["perceptron", "lenet"])
def test_a_teacher_learns_and_is_rebuilt_frozen(kind):
    result = datafree.trained_teacher(kind, "mnist", 14, True, epochs=8, batch_size=100, learning_rate=1e-2, seed=1, count=600)
    model = datafree.rebuild_teacher(result["weights"], kind, 14, True)
    train, judged = datafree.pictures_of("mnist", 14, "validation")
    assert training.correct(model, train[:600]).float().mean() > 0.6
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert (len(train), len(judged)) == (50_000, 10_000)
    assert judged.images.shape[1:] == (1, 14, 14)
    full, test = datafree.pictures_of("fashion_mnist", 28)
    assert full.images.shape[1:] == test.images.shape[1:] == (1, 28, 28)
    weights = sum(v.numel() * v.element_size() for v in result["weights"].values())
    assert weights < 170_000  # small enough to ship
