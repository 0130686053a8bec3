"""A search with Optuna that gives up trials early, by the loss of held-out rows after each epoch.

pip install 'bpfast[sklearn]' optuna
python examples/optuna_pruning.py
"""

import optuna
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import bpfast as bp
from bpfast.sklearn import MLPClassifier

X, y = load_digits(return_X_y=True)
X_train, X_held, y_train, y_held = train_test_split(X / 16, y, random_state=0, stratify=y)


def objective(trial: optuna.Trial) -> float:
    """Train with the rates and sizes of a trial; return the loss of the held-out rows."""

    def report(epoch: int, logs: dict[str, float]) -> None:
        trial.report(logs["val_loss"], epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    model = MLPClassifier(
        (trial.suggest_int("units", 8, 128, log=True),),
        learning_rate_init=trial.suggest_float("rate", 1e-4, 1e-1, log=True),
        dropout=trial.suggest_float("dropout", 0.0, 0.5),
        max_iter=20,
        n_iter_no_change=20,
        random_state=0,
        callbacks=[bp.LambdaCallback(on_epoch_end=report)],
    )
    model.fit(X_train, y_train, validation_data=(X_held, y_held))
    return model.validation_loss_curve_[-1]


optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(
    sampler=optuna.samplers.TPESampler(seed=0),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
)
study.optimize(objective, n_trials=12)
pruned = sum(trial.state == optuna.trial.TrialState.PRUNED for trial in study.trials)
print(f"loss {study.best_value:.4f} with {study.best_params}; {pruned} of 12 trials were given up")
