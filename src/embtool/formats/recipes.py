"""Every way in which a table is made of several tensors."""

from embtool.formats import mlx, scaled, static
from embtool.formats.packed import STACKED, Recipe

RECIPES: tuple[Recipe, ...] = (*scaled.RECIPES, mlx.RECIPE, *static.MODEL2VEC, STACKED)
"""Of those whose tensors are there, the first counts."""
