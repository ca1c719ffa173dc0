"""What a model's settings say, and what they leave unsaid.

```
params         params.json -> a `Config`
config         config.json's dialects
fields         one object of a file, read field by field
families       what each family of models leaves unsaid
architectures  what was seen of every architecture of transformers, as data
```
"""
