"""Every way in which a table is made of several tensors."""

from embtool.formats import mlx, model2vec, named, scaled
from embtool.formats.packed import AXIAL, STACKED, Recipe

RECIPES: tuple[Recipe, ...] = (*scaled.RECIPES, *named.RECIPES, mlx.RECIPE, *model2vec.RECIPES, STACKED, AXIAL)
"""Of those whose tensors are there, the first counts."""
