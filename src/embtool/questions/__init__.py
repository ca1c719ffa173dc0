"""Questions about a model, one file each: the answer as a type, and the function that finds it.

Each takes the tables, vocabularies and settings that it needs, prints nothing, and returns an `embtool.answers.Answer`.
`Model` has a method for each; a command of `embtool.cli` is: parse, ask, emit.
"""

ANSWERS: dict[str, tuple[str, ...]] = {
    "cache": ("embtool.cli.cache:CacheAnswer", "embtool.cli.cache:RemovedAnswer", "embtool.cli.cache:VerifyAnswer"),
    "calc": (
        "embtool.questions.calc:CalcAnswer",
        "embtool.questions.analogy:AnalogyAnswer",
        "embtool.questions.analogy:AnsweredQuestions",
    ),
    "check": (
        "embtool.questions.check:CheckAnswer",
        "embtool.questions.check:RulesAnswer",
        "embtool.questions.check:RuleAnswer",
    ),
    "diff": (
        "embtool.questions.diff:DiffAnswer",
        "embtool.questions.diff_vocabulary:VocabularyAnswer",
        "embtool.questions.diff_copy:CopyAnswer",
    ),
    "info": ("embtool.questions.info:InfoAnswer",),
    "input": ("embtool.questions.input:InputAnswer", "embtool.questions.input:InputComparison"),
    "learn": ("embtool.lesson.script:StepsAnswer", "embtool.lesson.script:ScriptAnswer"),
    "map": ("embtool.questions.map:MapAnswer",),
    "neighbors": ("embtool.questions.neighbors:NeighborsAnswer",),
    "norms": (
        "embtool.questions.norms:NormsAnswer",
        "embtool.questions.norms:TokenNormsAnswer",
        "embtool.questions.norms:RowNormsAnswer",
    ),
    "rope": (
        "embtool.questions.rope:RopeAnswer",
        "embtool.questions.rope_relative:RelativeAnswer",
        "embtool.questions.rope_compare:RopeComparison",
        "embtool.questions.rope_decay:RopeDecay",
        "embtool.questions.rope_golden:RopeGolden",
        "embtool.questions.rope_judge:RopeJudgement",
    ),
    "row": ("embtool.questions.row:RowAnswer",),
    "similarity": ("embtool.questions.similarity:SimilarityAnswer", "embtool.questions.direction:DirectionAnswer"),
    "tokens": ("embtool.questions.tokens:TokensAnswer", "embtool.questions.tokens:TextTokens"),
    "plan": ("embtool.cli.command_run:PlanAnswer",),
    "schema": ("embtool.cli.schema:SchemasAnswer",),
    "undertrained": ("embtool.questions.undertrained:UndertrainedAnswer",),
    "use": ("embtool.cli.use:UseAnswer",),
    "vocab": (
        "embtool.questions.vocab:VocabAnswer",
        "embtool.questions.vocab:VocabCounts",
        "embtool.questions.usage:UsageAnswer",
    ),
}
"""The kinds of answer that each command prints, by module and class; their schema and reference follow from them."""
