"""The special tokens of OpenAI's Whisper: languages, tasks and times.

See https://github.com/openai/whisper/blob/main/whisper/tokenizer.py, whose order this is.
"""

from typing import Any

LANGUAGES: dict[str, str] = dict(
    language.split(":")
    for language in """
    en:english zh:chinese de:german es:spanish ru:russian ko:korean fr:french ja:japanese pt:portuguese tr:turkish
    pl:polish ca:catalan nl:dutch ar:arabic sv:swedish it:italian id:indonesian hi:hindi fi:finnish vi:vietnamese
    he:hebrew uk:ukrainian el:greek ms:malay cs:czech ro:romanian da:danish hu:hungarian ta:tamil no:norwegian
    th:thai ur:urdu hr:croatian bg:bulgarian lt:lithuanian la:latin mi:maori ml:malayalam cy:welsh sk:slovak
    te:telugu fa:persian lv:latvian bn:bengali sr:serbian az:azerbaijani sl:slovenian kn:kannada et:estonian
    mk:macedonian br:breton eu:basque is:icelandic hy:armenian ne:nepali mn:mongolian bs:bosnian kk:kazakh
    sq:albanian sw:swahili gl:galician mr:marathi pa:punjabi si:sinhala km:khmer sn:shona yo:yoruba so:somali
    af:afrikaans oc:occitan ka:georgian be:belarusian tg:tajik sd:sindhi gu:gujarati am:amharic yi:yiddish lo:lao
    uz:uzbek fo:faroese ht:haitian_creole ps:pashto tk:turkmen nn:nynorsk mt:maltese sa:sanskrit lb:luxembourgish
    my:myanmar bo:tibetan tl:tagalog mg:malagasy as:assamese tt:tatar haw:hawaiian ln:lingala ha:hausa ba:bashkir
    jw:javanese su:sundanese yue:cantonese
    """.replace("\n", " ").split()
)
"""The name of each language, by its code, in the order of their tokens; the last one came with the third version."""

OTHER_NAMES = {
    "burmese": "my",
    "valencian": "ca",
    "flemish": "nl",
    "haitian": "ht",
    "letzeburgesch": "lb",
    "pushto": "ps",
    "panjabi": "pa",
    "moldavian": "ro",
    "moldovan": "ro",
    "sinhalese": "si",
    "castilian": "es",
    "mandarin": "zh",
}

CODES = {**{name.replace("_", " "): code for code, name in LANGUAGES.items()}, **OTHER_NAMES}
"""The code of each language, by its names."""

TASKS = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")

TIMES = tuple(f"{place * 0.02:.2f}" for place in range(1501))
"""Half a minute, in steps of a fiftieth of a second."""


def added_names(base: int, size: Any) -> list[str]:
    """List the names of the special tokens behind the `base` others.

    How many languages there are is not in the vocabulary: 99, but 100 where a model's `size`, its rows, has room for
    all 100.
    """
    rest = [*TASKS, *TIMES]
    languages = list(LANGUAGES)
    is_newest = size == base + 2 + len(languages) + len(rest)
    return ["endoftext", "startoftranscript", *(languages if is_newest else languages[:-1]), *rest]
