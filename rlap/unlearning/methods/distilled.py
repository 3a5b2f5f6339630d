"""SCRUB and DELETE: a copy is taught by the original what to go on answering."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlap.checks import (
    check_count,
    check_level,
    check_one_of,
    check_positive,
    check_seed,
)
from rlap.data.base import Split
from rlap.network.layers import (
    evaluating,
    model_device,
    placing,
    preserved_random_state,
)
from rlap.network.modes import (
    BATCHNORM,
    batches_of_one_explained,
    trained_parameters,
)
from rlap.network.precision import own_precision
from rlap.training.loop import TrainingDiverged
from rlap.training.recipe import (
    Recipe,
    augment,
    check_recipe,
    learning_rate,
    make_optimizer,
)
from rlap.unlearning.common.begin import MASKED, begin

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # of student, teacher, labels
PLAIN = Recipe(schedule="constant", nesterov=False, precision="fp32")
# the authors' for a class of CIFAR-10
SCRUBBING = Recipe(**{**vars(PLAIN), "epochs": 3, "lr": 5e-4})
DELETING = Recipe(**{**vars(PLAIN), "epochs": 20, "lr": 1e-4, "weight_decay": 0.0})


def forget_scrub(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    max_epochs: int = 2,
    alpha: float = 0.001,
    gamma: float = 0.99,
    temperature: float = 4.0,
    forget_batch: int = 512,
    recipe: Recipe = SCRUBBING,
    seed: int = 0,
    samplewise: bool = False,
) -> nn.Module:
    """Disobey the original on the forget set, obey it on the retain set, in turn.

    Each epoch of ``recipe`` is a pass over the retain set that descends on
    gamma CE + alpha KL(original || new); before each of the first ``max_epochs`` a pass
    over the forget set ascends on that KL, which has no upper bound. Probabilities are
    softened by ``temperature`` T and the KL multiplied by T^2. The rate is that of the
    schedule at the epoch's start. Defaults are those of the authors' code for a class
    of CIFAR-10. Source: Kurmanji et al. (NeurIPS 2023), without rewinding.

    >>> model, split = nn.Linear(2, 3), Split(torch.rand(9, 2), torch.arange(9) % 3)
    >>> forget_scrub(model, split.subset([2, 5, 8]), split.subset([0, 1, 3]))
    Linear(in_features=2, out_features=3, bias=True)
    """
    new = begin(
        model, forget, retain, both=True, trains=True, samplewise=samplewise
    ).model
    check_count(max_epochs, "max_epochs", minimum=0)
    check_level(alpha, "alpha")
    check_level(gamma, "gamma")
    check_positive(temperature, "temperature")
    lesson = Lesson(new, model, recipe, seed)

    def obey(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        told = alpha * divergence(student, teacher, temperature)
        return gamma * F.cross_entropy(student, labels) + told

    for epoch in range(recipe.epochs):
        if epoch < max_epochs:
            lesson.learn(
                forget,
                lambda s, t, y: -divergence(s, t, temperature),
                epoch,
                batch_size=forget_batch,
            )
        lesson.learn(retain, obey, epoch)
    return new.eval()


def forget_delete(
    model: nn.Module,
    forget: Split,
    retain: Split | None = None,
    *,
    batchnorm: str = "train",
    recipe: Recipe = DELETING,
    seed: int = 0,
    samplewise: bool = False,
) -> nn.Module:
    """Teach the forget set as the original answers it with the class's logit masked.

    KL(original without the class || new) on the forget set alone; the retain set is
    not used. Of several classes all are masked, ``samplewise`` a sample's own alone.
    ``batchnorm`` "eval" leaves running
    statistics alone (an option of the authors' code). Defaults are those of their code
    for a class of CIFAR-10. Source: DELETE (CVPR 2025), arXiv 2503.23751.

    >>> model, split = nn.Linear(2, 3), Split(torch.rand(9, 2), torch.arange(9) % 3)
    >>> forget_delete(model, split.subset([2, 5, 8]))
    Linear(in_features=2, out_features=3, bias=True)
    """
    new, labels, *_ = begin(model, forget, retain, trains=True, samplewise=samplewise)
    check_one_of(batchnorm, ("train", "eval"), "batchnorm")
    lesson = Lesson(new, model, recipe, seed, batchnorm == "eval")

    def as_masked(student: Tensor, teacher: Tensor, own: Tensor) -> Tensor:
        if samplewise:
            told = teacher.scatter(1, own[:, None], MASKED)
        else:
            told = teacher.index_fill(1, masked, MASKED)
        return divergence(student, told)

    masked = torch.tensor(labels, device=lesson.device)
    for epoch in range(recipe.epochs):
        lesson.learn(forget, as_masked, epoch)
    return new.eval()


def divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 KL(teacher || student) of logits (B, C), both over T; mean over samples."""
    log_p = F.log_softmax(student / temperature, 1)
    told = F.softmax(teacher / temperature, 1)
    return temperature**2 * F.kl_div(log_p, told, reduction="batchmean")


@dataclass
class Lesson:
    """The training of ``student`` by what ``teacher`` answers, over several passes.

    With ``frozen_statistics`` BatchNorm stays in eval mode. Raises ``ValueError`` where
    all parameters are frozen, ``TrainingDiverged`` for a loss that is not finite.
    """

    student: nn.Module
    teacher: nn.Module
    recipe: Recipe
    seed: int
    frozen_statistics: bool = False
    generator: torch.Generator = field(default_factory=torch.Generator)

    def __post_init__(self) -> None:
        check_recipe(self.recipe)
        self.generator.manual_seed(check_seed(self.seed))
        self.device = model_device(self.student)
        self.parameters = list(trained_parameters(self.student).values())
        self.optimizer = make_optimizer(self.recipe, self.parameters)

    def set_modes(self) -> None:
        """The student trains, its BatchNorm maybe not."""
        self.student.train()
        for module in self.student.modules():
            if self.frozen_statistics and isinstance(module, BATCHNORM):
                module.eval()

    def learn(
        self, split: Split, loss: Loss, epoch: int, batch_size: int | None = None
    ) -> None:
        """One pass over ``split`` that descends on ``loss``."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, epoch, 1)
        place = placing(self.student, split.inputs, training=True)
        order = torch.randperm(len(split), generator=self.generator, device="cpu")
        parts = list(order.split(batch_size or self.recipe.batch_size))
        if len(parts) > 1 and len(parts[-1]) == 1:
            parts.pop()  # BatchNorm has no variance over one sample
        self.set_modes()
        dropout = int(torch.randint(2**62, (), generator=self.generator, device="cpu"))
        with (
            torch.enable_grad(),
            batches_of_one_explained(),
            own_precision(),
            preserved_random_state(self.device, dropout),
            evaluating(self.teacher),
        ):
            for index in parts:
                index = index.to(split.inputs.device)
                inputs = augment(split.inputs[index], self.recipe, self.generator)
                x, y = place(inputs), split.labels[index].to(self.device)
                with torch.no_grad():  # of a copy: it may work in place on it
                    told = self.teacher(x.clone())
                self.step(loss(self.student(x), told, y))

    def step(self, loss: Tensor) -> None:
        """Move the student down the gradient of ``loss``."""
        if not torch.isfinite(loss):
            raise TrainingDiverged(f"the loss is {loss.item()}; lower the rate")
        self.optimizer.zero_grad(set_to_none=True)
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
