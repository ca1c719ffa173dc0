"""Pictures as SVG: shapes, maps, dials and curves.

```
dial | picture | curves  positions as hands | points with names | lines over distances
drawing                  shapes to SVG, and SVG to PNG
```
"""
