"""The page: a model's table and positions as one file that stands alone, opens from disk, and asks nobody.

What the page shows is measured here, by the functions that the ordinary commands use, and stands in it as data. What a
reader does with it (guess, type, turn, zoom) is done by the scripts in the folder `page`. The floors, lowest first:

    parts       texts, numbers and bits as the page carries them
    carried     the slice of the table that the page carries
    shadow      words in two dimensions
    order       how the model knows order: angles per position, a table of positions, slopes
    cards       the lesson, its answers measured
    sheet       the file: markup, style, scripts and data in one
    whole       a model to a page
"""

from embtool.view.whole import ViewAnswer, make_view, write_view

__all__ = ["ViewAnswer", "make_view", "write_view"]
