"""Writes texts.json: training texts, other texts, and their encodings by scikit-learn.

texts.py, in this folder; needs the versions of requirements.txt.

Texts have words without apostrophes, so that scikit-learn's words are those of Unicode's boundaries. Terms of
characters get the mark that Fireclay gives them, and those of Chinese the spaces between words.
"""

import json
import re
from pathlib import Path

from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

training = [
    "The tea was fresh, and the cups were warm.",
    "A warm cup of tea on a cold day: perfect!",
    "Cold coffee, cold cup, cold service.",
    "",
    "Très bon café, ÉNORME tasse; très très bon",
    "Свежий чай и тёплая чашка",
    "Tea tea tea tea and more TEA",
    "Not the tea that I ordered, not fresh, not warm",
]
others = ["Fresh warm tea very fresh", "café froid", "nothing known", "", "чай"]
chinese = ["这家店的茶很好喝", "茶不好喝", "服务很好", "好茶"]

def characters(text):
    """Chinese characters and pairs of them, with a space between as between words."""
    words = re.findall("[\u4e00-\u9fff]", text)
    return words + [" ".join(pair) for pair in zip(words, words[1:])]


def case(training, encoding, vectorizer, term=str):
    """The terms of a fitted vectorizer, and what each row of `training` and of `others` has of them."""
    vectorizer.fit(training)
    terms = [term(name) for name in vectorizer.get_feature_names_out()]
    texts = training + others
    rows = vectorizer.transform(texts).toarray()
    encoded = [{terms[j]: float(x) for j, x in enumerate(row) if x != 0} for row in rows]
    terms.sort(key=str.encode)
    return {"training": training, "encoding": encoding, "terms": terms, "texts": texts, "encoded": encoded}


of_words = {"token_pattern": r"(?u)\b\w+\b"}
cases = [
    case(training, {"word_ngrams": "1"}, TfidfVectorizer(**of_words)),
    case(training, {"word_ngrams": "1-2"}, TfidfVectorizer(**of_words, ngram_range=(1, 2))),
    case(
        training,
        {"word_ngrams": "1-3", "sublinear_tf": True, "min_df": 2, "max_df": 0.4},
        TfidfVectorizer(**of_words, ngram_range=(1, 3), sublinear_tf=True, min_df=2, max_df=0.4),
    ),
    case(
        training,
        {"word_ngrams": "1", "max_features": 2, "lowercase": False},
        TfidfVectorizer(**of_words, max_features=2, lowercase=False),
    ),
    case(
        training,
        {"word_ngrams": "1-2", "weighting": "counts"},
        CountVectorizer(**of_words, ngram_range=(1, 2)),
    ),
    case(
        # Punctuation is of no word here, and of one there.
        [re.sub("[^\\w ]", "", text) for text in training],
        {"word_ngrams": "0", "char_ngrams": "3-5"},
        TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5)),
        lambda name: "#" + name,
    ),
    case(chinese, {"word_ngrams": "1-2"}, TfidfVectorizer(analyzer=characters)),
]
(Path(__file__).parent / "texts.json").write_text(json.dumps(cases, ensure_ascii=False) + "\n")
