"""Tables of rows: which tensors they are, one pass over them at memory speed, and what is asked of their rows.

```
graph                            for each row the nearest ones
neighbors | norms | export ...   arithmetic over tables and texts; they do not know each other
candidates | spectrum            what may be among the nearest | how much the principal axes hold
survey | pairs                   what one pass finds out about every row | rows held against rows
token_table                      a table with the tokens that name its rows, and what a typed word means in it
scan | scoring                   one pass over a table | scores of a block
categories | arithmetic          what kind each token is | sums of rows
final_norm                       what a model's last norm does to a row
kernels | table_roles            rows given to NumKong as they are stored | which tensors are the model's tables
table                            rows and blocks of a table
unknown_tables | further_tables  tensors that look like one | those beside the text's
metric                           what nearness can mean
```
"""
