"""A table with numbers and words: prepared, fitted, kept in a file and loaded again.

pip install 'bpfast[sklearn]' pandas
python examples/sklearn_pipeline.py
"""

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from bpfast.sklearn import MLPClassifier

rng = np.random.default_rng(0)
table = pd.DataFrame(
    {
        "age": rng.integers(18, 80, 1000),
        "income": rng.lognormal(10, 0.5, 1000),
        "town": rng.choice(["Bergen", "Oslo", "Tromso"], 1000),
    }
)
sun = table["town"].map({"Bergen": -1.0, "Oslo": 0.5, "Tromso": 0.0})
buys = (sun + (table["age"] - 50) / 30 + rng.normal(0, 0.3, 1000) > 0).map(
    {True: "yes", False: "no"}
)

prepare = make_column_transformer(
    (StandardScaler(), ["age", "income"]),
    (OneHotEncoder(handle_unknown="ignore"), ["town"]),
)
model = make_pipeline(prepare, MLPClassifier((32,), early_stopping=True, random_state=0))
X_train, X_test, y_train, y_test = train_test_split(table, buys, random_state=0)
model.fit(X_train, y_train)

joblib.dump(model, "model.joblib")
loaded = joblib.load("model.joblib")
assert np.array_equal(loaded.predict_proba(X_test), model.predict_proba(X_test))
print(f"accuracy {loaded.score(X_test, y_test):.3f} after {loaded[-1].n_iter_} epochs")
