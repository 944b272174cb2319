"""Pruning as a recipe's network needs it: by its labels where it is trained here, by pictures alone otherwise."""

from __future__ import annotations

from pathlib import Path

from convert.prune.plan import PrunePlan
from convert.prune.run import Pruned, Workplace, find_relevance, prune_by_pictures, prune_detector
from convert.prune.tune import ByLabels
from convert.quantize.calibration import load_calibration
from convert.recipe import Recipe, TrainedRecipe
from convert.source import SourceModel
from convert.train.feed import Pool
from convert.train.session import Session, open_recipe_data


def prune_by_recipe(
    recipe: Recipe,
    source: SourceModel,
    plan: PrunePlan,
    pictures: Path,
    place: Workplace,
    work: Path,
    mirror: Path | None,
    strict: bool = False,
) -> Pruned:
    """Prunes the network of a recipe.

    Args:
        recipe: With ``[train]``, its labels train what is left; without, the whole network's answers alone do.
        source: Its network before any pruning.
        plan: What is asked for.
        pictures: Its calibration pictures.
        place: Where the rounds are kept, and the rest.
        work: Folder for generated scenes.
        mirror: Looked in for the pictures that train.
        strict: Refuse pictures with anything wrong in them.

    Raises:
        BudgetError: The target cannot be met, or the first round loses too much.
        InputError: Pictures that are not to be had, or a target that does not fit.
        RunError: Training or conversion failed.
    """
    samples = load_calibration(pictures, source.input).samples
    if recipe.train is None or not isinstance(recipe.source, TrainedRecipe):
        return prune_by_pictures(source, plan, pictures, samples, place)
    session = Session(place.folder, work, mirror, strict, "", None, place.say)
    labels = recipe.source.labels
    pools = tuple(Pool(open_recipe_data(data, recipe, session), labels) for data in recipe.train.data)
    tuner = ByLabels(recipe, pools, source.model, plan.learning_rate, plan.distil, plan.seed, place.folder)
    where = find_relevance(source, samples)
    trained_on = b"".join([repr(recipe.train).encode(), *(pool.digest for pool in pools)])
    return prune_detector(source, plan, tuner, samples, where, place, trained_on=trained_on)
