"""Bytes: where they are, how they are read, written and kept, and which numbers they mean.

```
checkpoint                       tensors by name, rows by byte range
kept                             files of the cache that show whether they are what was written
cache                            what is derived once and kept
dtypes | source                  bytes to numbers | the files of a folder, of an archive, of a dict
mapped                           a range of a file in memory, lent block by block
places | replacing               what is under a name | a file that is there whole or not at all
impostors | leases               what a file is that is not what its name says | who else may write to one
```
"""
