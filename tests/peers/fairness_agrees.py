"""What fairlearn, AIF360, scikit-learn and statsmodels say of COMPAS and Adult, and whether the audit agrees.

    python tests/peers/fairness_agrees.py

Reads `datasets/tabular` of `$PROOFMARK_DATA` (default `../shared/data`), writes to `$PROOFMARK_PEER_FAIRNESS` (default
`target/peer-fairness`) what the peers compute, and runs the Rust test `peers` of `proofmark-audit` on it, which compares
to 1e-9. Exit code that of the test; 0 with a word where something is missing. `--write` only writes.

| file | what |
|---|---|
| `values.tsv` | table, metric, attribute, group (empty: the headline), value |
| `adult.csv` | Adult's test rows with the decision and score of a logistic regression, and weights |
| `neighbours.csv` | random points with decisions, no ties |
"""

import os
import subprocess
import sys
import warnings
from pathlib import Path

try:
    import numpy as np
    import pandas as pd
    import sklearn.metrics as sk
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import StandardScaler
    from fairlearn import metrics as fl
    from statsmodels.stats.contingency_tables import StratifiedTable
    import aif360
    from aif360.datasets import BinaryLabelDataset, StandardDataset
    from aif360.metrics import BinaryLabelDatasetMetric, ClassificationMetric
except ImportError as e:
    print(f"SKIPPED: {e}; needs fairlearn, aif360, scikit-learn, pandas and statsmodels")
    sys.exit(0)

warnings.filterwarnings("ignore")
# AIF360 does not know the text columns of pandas 3.
pd.set_option("future.infer_string", False)
ROOT = Path(__file__).resolve().parents[2]
ADULT = ("age workclass fnlwgt education education_num marital_status occupation relationship race sex capital_gain "
         "capital_loss hours_per_week native_country income").split()


def values_of(table, y, p, attributes, weights=None, score=None, probability=None):
    """Every rate that fairlearn and scikit-learn have, by group and contrasted."""
    w = {} if weights is None else {"sample_weight": weights}
    out = []

    def both(metric, f, against, prediction):
        for name, groups in attributes.items():
            frame = fl.MetricFrame(metrics=f, y_true=against, y_pred=prediction, sensitive_features=groups,
                                   sample_params=w or None)
            for group, value in frame.by_group.items():
                out.append((table, metric, name, group, value))
            out.append((table, metric, name, "overall", frame.overall))
            out.append((table, f"{metric}_difference", name, "", frame.difference()))
            out.append((table, f"{metric}_ratio", name, "", frame.ratio()))
            out.append((table, f"{metric}_difference_to_overall", name, "", frame.difference(method="to_overall")))
            out.append((table, f"{metric}_ratio_to_overall", name, "", frame.ratio(method="to_overall")))

    def of_negatives(f):
        return lambda t, q, **k: f(1 - np.asarray(t), 1 - np.asarray(q), **k)

    both("selection_rate", fl.selection_rate, y, p)
    both("tpr", fl.true_positive_rate, y, p)
    both("fpr", fl.false_positive_rate, y, p)
    both("tnr", fl.true_negative_rate, y, p)
    both("fnr", fl.false_negative_rate, y, p)
    both("ppv", sk.precision_score, y, p)
    both("npv", of_negatives(sk.precision_score), y, p)
    both("accuracy", sk.accuracy_score, y, p)
    both("balanced_accuracy", sk.balanced_accuracy_score, y, p)
    both("base_rate", fl.selection_rate, p, y)
    if score is not None:
        both("auc", sk.roc_auc_score, y, score)
        both("mean_score", fl.mean_prediction, y, score)
        both("mae", sk.mean_absolute_error, y, score)
        both("mse", sk.mean_squared_error, y, score)
        both("rmse", sk.root_mean_squared_error, y, score)
    if probability is not None:
        both("brier_score", sk.brier_score_loss, y, probability)
        both("log_loss", sk.log_loss, y, probability)
    for name, groups in attributes.items():
        k = {"sensitive_features": groups, **w}
        add = lambda metric, value: out.append((table, metric, name, "", value))
        add("demographic_parity_difference", fl.demographic_parity_difference(y, p, **k))
        add("demographic_parity_ratio", fl.demographic_parity_ratio(y, p, **k))
        add("equalized_odds_difference", fl.equalized_odds_difference(y, p, **k))
        add("equalized_odds_ratio", fl.equalized_odds_ratio(y, p, **k))
        add("average_odds_difference", fl.equalized_odds_difference(y, p, agg="mean", **k))
        add("average_odds_ratio", fl.equalized_odds_ratio(y, p, agg="mean", **k))
        add("equal_opportunity_difference", fl.equal_opportunity_difference(y, p, **k))
        add("equal_opportunity_ratio", fl.equal_opportunity_ratio(y, p, **k))
    if score is not None:
        for name, groups in attributes.items():
            weight = np.ones(len(y)) if weights is None else np.asarray(weights)
            for group in sorted(set(groups)):
                g = np.asarray(groups) == group
                for metric, label in [("generalized_tpr", 1), ("generalized_fpr", 0)]:
                    at = g & (np.asarray(y) == label)
                    out.append((table, metric, name, group, np.average(np.asarray(score)[at], weights=weight[at])))
    return out


def signed(table, attribute, y, p, codes, reference, others, weights=None):
    """AIF360's signed differences, each group against the reference, and its indices over all groups."""
    frame = pd.DataFrame({"group": codes, "label": y})
    if weights is not None:
        frame["w"] = weights
    kind = dict(df=frame, label_names=["label"], protected_attribute_names=["group"],
                instance_weights_name=None if weights is None else "w")
    true = BinaryLabelDataset(**kind)
    predicted = true.copy()
    predicted.labels = np.asarray(p, dtype=float).reshape(-1, 1)
    out = []
    for name, code in others.items():
        m = ClassificationMetric(true, predicted, [{"group": code}], [{"group": reference}])
        for metric, value in {
            "statistical_parity_difference": m.statistical_parity_difference(),
            "disparate_impact": m.disparate_impact(),
            "tpr_difference_to_reference": m.true_positive_rate_difference(),
            "fpr_difference_to_reference": m.false_positive_rate_difference(),
            "fnr_difference_to_reference": m.false_negative_rate_difference(),
            "fnr_ratio_to_reference": m.false_negative_rate_ratio(),
            "fpr_ratio_to_reference": m.false_positive_rate_ratio(),
            "for_difference_to_reference": m.false_omission_rate_difference(),
            "for_ratio_to_reference": m.false_omission_rate_ratio(),
            "fdr_difference_to_reference": m.false_discovery_rate_difference(),
            "fdr_ratio_to_reference": m.false_discovery_rate_ratio(),
            "average_odds_difference_to_reference": m.average_odds_difference(),
            "ppv": m.positive_predictive_value(privileged=False),
            "npv": m.negative_predictive_value(privileged=False),
            "base_rate": m.base_rate(privileged=False),
        }.items():
            out.append((table, metric, attribute, name, value))
    if weights is None:
        out.append((table, "generalized_entropy_index", "", "", m.generalized_entropy_index()))
        out.append((table, "theil_index", "", "", m.theil_index()))
        out.append((table, "coefficient_of_variation", "", "", m.coefficient_of_variation()))
        groups = [[{"group": c}] for c in sorted(set(codes))]
        for metric, alpha in [("between_group_generalized_entropy", 2), ("between_group_theil", 1)]:
            between = m._between_group_generalized_entropy_index(groups=groups, alpha=alpha)
            out.append((table, metric, attribute, "", between))
    edf = BinaryLabelDatasetMetric(predicted).smoothed_empirical_differential_fairness()
    out.append((table, "differential_fairness", attribute, "", edf))
    edf = BinaryLabelDatasetMetric(true).smoothed_empirical_differential_fairness()
    out.append((table, "label_differential_fairness", attribute, "", edf))
    amplified = m.differential_fairness_bias_amplification()
    out.append((table, "differential_fairness_bias_amplification", attribute, "", amplified))
    return out


def coded(column):
    levels = {v: float(i) for i, v in enumerate(sorted(set(column)))}
    return [levels[v] for v in column], levels


def references(table, frame, y, p, attribute, reference, weights=None):
    codes, levels = coded(frame[attribute])
    others = {k: v for k, v in levels.items() if k != reference}
    return signed(table, attribute, y, p, codes, levels[reference], others, weights)


def compas(folder):
    frame = pd.read_csv(folder / "compas-scores-two-years.csv")
    y, score = frame["two_year_recid"], frame["decile_score"]
    p = (score >= 5).astype(int)
    attributes = {a: frame[a] for a in ["race", "sex", "age_cat"]}
    out = values_of("compas", y, p, attributes, score=score)
    out += references("compas", frame, y, p, "race", "Caucasian")
    out += references("compas", frame, y, p, "sex", "Male")
    return out


def adult(folder, target):
    read = lambda name: pd.read_csv(folder / name, header=None, names=ADULT, skipinitialspace=True)
    train, test = read("adult-train.csv"), read("adult-test.csv")
    numbers = ["age", "education_num", "capital_gain", "capital_loss", "hours_per_week"]
    scaler = StandardScaler().fit(train[numbers])
    model = LogisticRegression().fit(scaler.transform(train[numbers]), train["income"] == ">50K")
    test["score"] = model.predict_proba(scaler.transform(test[numbers]))[:, 1]
    test["decision"] = (test["score"] >= 0.5).astype(int)
    test["weight"] = 0.5 + np.modf((np.arange(len(test)) + 1) * 0.754877666246693)[0]
    test.to_csv(target / "adult.csv", index=False)
    test = pd.read_csv(target / "adult.csv")
    y, p, w = (test["income"] == ">50K.").astype(int), test["decision"], test["weight"]
    attributes = {a: test[a] for a in ["race", "sex"]}
    out = values_of("adult", y, p, attributes, score=test["score"], probability=test["score"])
    out += values_of("adult-weighted", y, p, attributes, w, test["score"], test["score"])
    for attribute, reference in [("race", "White"), ("sex", "Male")]:
        out += references("adult", test, y, p, attribute, reference)
        out += references("adult-weighted", test, y, p, attribute, reference, w)
    tables = []
    for _, s in test.groupby("education"):
        cell = lambda sex, d: ((s["sex"] == sex) & (s["decision"] == d)).sum()
        tables.append(np.array([[cell("Female", 1), cell("Female", 0)], [cell("Male", 1), cell("Male", 0)]]))
    pooled = StratifiedTable([t.astype(float) for t in tables])
    out.append(("adult", "mantel_haenszel_odds_ratio", "sex", "Female", pooled.oddsratio_pooled))
    out.append(("adult", "mantel_haenszel_log_variance", "sex", "Female", pooled.logodds_pooled_se ** 2))
    return out


def foulds(folder, target):
    """AIF360's own test of smoothed differential fairness, with its regression: its published figures come out."""
    read = lambda name: pd.read_csv(folder / name, header=None, names=ADULT, skipinitialspace=True, na_values="?")
    both = pd.concat([read("adult-train.csv"), read("adult-test.csv")], ignore_index=True).fillna("Unknown")
    ad = StandardDataset(both, label_name="income", favorable_classes=[">50K", ">50K."],
                         protected_attribute_names=["race", "sex", "native_country"],
                         privileged_classes=[["White"], ["Male"], ["United-States"]],
                         categorical_features=["workclass", "education", "marital_status", "occupation",
                                               "relationship"], features_to_drop=["fnlwgt"])
    train, test = ad.split([32561], shuffle=False)
    scaler = StandardScaler()
    x = scaler.fit_transform(train.features)
    model = LogisticRegression(C=1.0, random_state=0, solver="liblinear").fit(x, train.labels.ravel())
    predicted = test.copy()
    predicted.labels = model.predict(scaler.transform(test.features)).reshape(-1, 1)
    frame = pd.DataFrame(test.protected_attributes.astype(int), columns=["race", "sex", "country"])
    frame["label"], frame["decision"] = test.labels.astype(int), predicted.labels.astype(int)
    frame.to_csv(target / "foulds.csv", index=False)
    edf = BinaryLabelDatasetMetric(predicted).smoothed_empirical_differential_fairness()
    print(f"AIF360 publishes 1.6434003346776307 for its regression on Adult; here {edf}")
    data = BinaryLabelDatasetMetric(test).smoothed_empirical_differential_fairness()
    grouping = "race & sex & country"
    return [("foulds", "differential_fairness", grouping, "", edf),
            ("foulds", "label_differential_fairness", grouping, "", data),
            ("foulds", "differential_fairness_bias_amplification", grouping, "", edf - data)]


def neighbours(target):
    random = np.random.default_rng(0)
    x = random.normal(size=(500, 3))
    d = (x.sum(axis=1) + random.normal(size=500) > 0).astype(int)
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    frame["decision"] = d
    frame.to_csv(target / "neighbours.csv", index=False)
    near = NearestNeighbors(n_neighbors=5).fit(x).kneighbors(return_distance=False)
    return [("neighbours", "consistency", "", "", 1 - np.abs(d - d[near].mean(axis=1)).mean())]


def main():
    folder = Path(os.environ.get("PROOFMARK_DATA", ROOT.parent / "shared" / "data")) / "datasets" / "tabular"
    if not folder.is_dir():
        print("SKIPPED: no ../shared/data or $PROOFMARK_DATA")
        return 0
    target = Path(os.environ.get("PROOFMARK_PEER_FAIRNESS", ROOT / "target" / "peer-fairness"))
    target.mkdir(parents=True, exist_ok=True)
    rows = compas(folder) + adult(folder, target) + foulds(folder, target) + neighbours(target)
    rows = [r for r in rows if np.isfinite(r[4])]
    lines = ["\t".join([*map(str, r[:4]), repr(float(r[4]))]) for r in rows]
    (target / "values.tsv").write_text("\n".join(lines) + "\n")
    print(f"{len(rows)} figures of fairlearn {__import__('fairlearn').__version__} and AIF360 {aif360.__version__}")
    if "--write" in sys.argv:
        return 0
    environment = {**os.environ, "PROOFMARK_PEER_FAIRNESS": str(target)}
    return subprocess.call(["cargo", "test", "-q", "-p", "proofmark-audit", "--test", "audit", "peers", "--", "--nocapture"],
                           cwd=ROOT, env=environment)


if __name__ == "__main__":
    sys.exit(main())
