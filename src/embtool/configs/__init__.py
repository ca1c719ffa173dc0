"""What a model's settings say, and what they leave unsaid.

```
params         params.json -> a `Config`
config         config.json's dialects
families       what each family of models leaves unsaid
architectures  what was seen of every architecture of transformers, as data
```
"""
