"""Makes `tests/golden/ml`: the operators of `ai.onnx.ml`, models that scikit-learn, XGBoost and LightGBM export, and what
onnxruntime says of them.

    python tests/peers/generate_ml.py

`operators.onnx` holds one node per case, `operators.npz` inputs and outputs; the other files are models with their inputs
and outputs. `tests/golden/README.md` describes them. Every number follows from the seeds here.

Needs numpy, onnx, onnxruntime, scikit-learn, skl2onnx, onnxmltools, xgboost and lightgbm.
"""

import itertools
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "ml"
ML = "ai.onnx.ml"
rng = np.random.default_rng(5)
nodes, inputs, outputs, values = [], [], [], {}


def floats(*shape, low=-2.0, high=2.0):
    return rng.uniform(low, high, shape).astype(np.float32)


def case(name, op, *given, wanted=1, hidden=0, **attributes):
    names = [f"{name}.i{i}" for i in range(len(given))]
    for own, value in zip(names, given):
        kind = TensorProto.STRING if value.dtype.kind in "OU" else helper.np_dtype_to_tensor_dtype(value.dtype)
        inputs.append(helper.make_tensor_value_info(own, kind, value.shape))
        values[f"in:{own}"] = value
    made = [f"{name}.o{i}" for i in range(wanted)]
    nodes.append(helper.make_node(op, names, made, name, domain=ML, **attributes))
    outputs.extend(made[hidden:])


def tree(depth, features, ident, rows, modes, leaves):
    """Adds a complete tree to the columns `rows` and its leaves, `(tree, node)`, to `leaves`."""
    n = 2 ** (depth + 1) - 1
    for i in range(n):
        leaf = i >= 2**depth - 1
        rows["nodes_treeids"].append(ident)
        rows["nodes_nodeids"].append(i)
        rows["nodes_featureids"].append(0 if leaf else int(rng.integers(features)))
        rows["nodes_modes"].append("LEAF" if leaf else str(rng.choice(modes)))
        # Few distinct thresholds, so that inputs meet them exactly.
        rows["nodes_values"].append(0.0 if leaf else float(rng.integers(-3, 4)) / 2)
        rows["nodes_truenodeids"].append(0 if leaf else 2 * i + 1)
        rows["nodes_falsenodeids"].append(0 if leaf else 2 * i + 2)
        rows["nodes_missing_value_tracks_true"].append(int(rng.integers(2)))
        if leaf:
            leaves.append((ident, i))


def forest(prefix, targets, low, trees=3, depth=3, features=4, modes=("BRANCH_LEQ",), every=False):
    columns = ["treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids", "missing_value_tracks_true"]
    rows, leaves = {f"nodes_{c}": [] for c in columns}, []
    for ident in range(trees):
        tree(depth, features, ident, rows, modes, leaves)
    picked = [(t, n, c) for t, n in leaves for c in (targets if every else [int(rng.choice(targets))])]
    rows[f"{prefix}_treeids"] = [t for t, _, _ in picked]
    rows[f"{prefix}_nodeids"] = [n for _, n, _ in picked]
    rows[f"{prefix}_ids"] = [c for _, _, c in picked]
    rows[f"{prefix}_weights"] = [float(np.float32(w)) for w in rng.uniform(low, 1.0, len(picked))]
    return rows


def samples(n=40, features=4):
    """Half-integers, which meet the thresholds, and gaps."""
    x = (rng.integers(-4, 5, (n, features)) / 2).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    return x


MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


def trees():
    x = samples()
    for post in ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]:
        low = 0.01 if post == "PROBIT" else -1.0
        for k in (2, 3):
            # Every class has a score for every sample, as in all files that converters write.
            every = dict(every=True)
            more = dict(trees=1) if post == "PROBIT" else {}
            # With leaves of both of two classes onnxruntime gives 0 and 1 as labels, whatever the file calls them.
            case(f"trees-{k}-{post}", "TreeEnsembleClassifier", x, wanted=2, hidden=int(k == 2), classlabels_int64s=list(range(10, 10 + k)),
                 post_transform=post, **forest("class", list(range(k)), low, **every, **more))
        if post != "PROBIT":
            case(f"regress-2-{post}", "TreeEnsembleRegressor", x, n_targets=2, post_transform=post,
                 **forest("target", [0, 1], -1.0, every=True))
            case(f"regress-1-{post}", "TreeEnsembleRegressor", x, n_targets=1, post_transform=post, base_values=[0.25],
                 **forest("target", [0], -1.0))
    # Leaves of one class alone: one score for two classes, a probability or not.
    for post, low in itertools.product(["NONE", "LOGISTIC"], [-1.0, 0.0]):
        for of in (0, 1):
            case(f"one-{post}-{low}-{of}", "TreeEnsembleClassifier", x, wanted=2, classlabels_int64s=[3, 7],
                 post_transform=post, **forest("class", [of], low, trees=1 if low == 0.0 else 3))
        case(f"one-base-{post}-{low}", "TreeEnsembleClassifier", x, wanted=2, classlabels_int64s=[3, 7], base_values=[0.1],
             post_transform=post, **forest("class", [0], low, trees=1))
    case("labels", "TreeEnsembleClassifier", x, wanted=2, classlabels_strings=["no", "yes", "perhaps"],
         base_values=[0.1, -0.2, 0.3], **forest("class", [0, 1, 2], -1.0, every=True))
    case("every-mode", "TreeEnsembleRegressor", x, n_targets=1, **forest("target", [0], -1.0, trees=8, modes=MODES))
    for how in ["SUM", "AVERAGE", "MIN", "MAX"]:
        case(f"regress-{how}", "TreeEnsembleRegressor", x, n_targets=2, aggregate_function=how, base_values=[0.5, -0.5],
             **forest("target", [0, 1], -1.0, every=True))


def linear():
    x = floats(30, 5)
    for post in ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"]:
        for k in (2, 3):
            case(f"linear-{k}-{post}", "LinearClassifier", x, wanted=2, classlabels_ints=list(range(4, 4 + k)), post_transform=post,
                 coefficients=floats(k * 5).tolist(), intercepts=floats(k).tolist())
        case(f"linear-one-{post}", "LinearClassifier", x, wanted=2, classlabels_ints=[4, 9], post_transform=post,
             coefficients=floats(5).tolist(), intercepts=floats(1).tolist())
        case(f"line-{post}", "LinearRegressor", x, targets=2, post_transform=post, coefficients=floats(10).tolist(),
             intercepts=floats(2).tolist())
    case("line", "LinearRegressor", x, targets=1, coefficients=floats(5).tolist())
    case("linear-texts", "LinearClassifier", x, wanted=2, classlabels_strings=["a", "b", "c"], coefficients=floats(15).tolist(),
         intercepts=floats(3).tolist())
    case("linear-int64", "LinearClassifier", rng.integers(-5, 6, (20, 3)), wanted=2, classlabels_ints=[0, 1, 2],
         coefficients=floats(9).tolist(), intercepts=floats(3).tolist())


def scales():
    x = floats(6, 4)
    x[1] = 0.0
    case("scaler", "Scaler", x, offset=floats(4).tolist(), scale=floats(4).tolist())
    case("scaler-one", "Scaler", x, offset=[0.5], scale=[2.0])
    case("scaler-int64", "Scaler", rng.integers(-9, 9, (5, 3)), offset=[1.0, 2.0, 3.0], scale=[0.5, 0.25, 2.0])
    for norm in ["L1", "L2"]:
        case(f"normalizer-{norm}", "Normalizer", x, norm=norm)
    case("normalizer-MAX", "Normalizer", np.abs(x) + 0.1, norm="MAX")
    gaps = x.copy()
    gaps[rng.random(x.shape) < 0.3] = np.nan
    case("imputer", "Imputer", gaps, imputed_value_floats=[1.0, 2.0, 3.0, 4.0], replaced_value_float=float("nan"))
    case("imputer-one", "Imputer", x, imputed_value_floats=[9.0], replaced_value_float=0.0)
    case("imputer-int64", "Imputer", rng.integers(0, 3, (5, 3)), imputed_value_int64s=[7, 8, 9], replaced_value_int64=1)
    case("binarizer", "Binarizer", x, threshold=0.25)


def categories():
    text = np.array([["a", "b"], ["c", "x"], ["b", "a"]], dtype=object)
    case("hot-ints", "OneHotEncoder", rng.integers(0, 5, (4, 2)), cats_int64s=[0, 2, 4], zeros=1)
    case("hot-texts", "OneHotEncoder", text, cats_strings=["a", "b", "c"], zeros=1)
    case("hot-floats", "OneHotEncoder", rng.integers(0, 5, (4, 1)).astype(np.float32), cats_int64s=[0, 2, 4], zeros=1)
    case("label-texts", "LabelEncoder", text, keys_strings=["a", "b", "c"], values_int64s=[5, 6, 7], default_int64=-9)
    case("label-ints", "LabelEncoder", rng.integers(0, 4, (5,)), keys_int64s=[0, 1, 2], values_strings=["p", "q", "r"], default_string="?")
    case("label-floats", "LabelEncoder", np.array([0.5, 1.5, np.nan, 9.0], np.float32), keys_floats=[0.5, 1.5, float("nan")],
         values_floats=[1.0, 2.0, 3.0], default_float=-1.0)
    case("mapper-texts", "CategoryMapper", text, cats_strings=["a", "b"], cats_int64s=[3, 4], default_int64=-2)
    case("mapper-ints", "CategoryMapper", rng.integers(2, 6, (5,)), cats_strings=["a", "b"], cats_int64s=[3, 4], default_string="none")
    case("columns", "ArrayFeatureExtractor", floats(5, 4), np.array([2, 0, 2], np.int64))
    case("columns-ints", "ArrayFeatureExtractor", rng.integers(0, 9, (6,)), np.array([5, 1], np.int64))
    case("vectorizer", "FeatureVectorizer", floats(5, 2), floats(5, 1), floats(5, 3), inputdimensions=[2, 1, 3])


def machines():
    x = floats(20, 3)
    for kernel, parameters in [("LINEAR", [0.0, 0.0, 0.0]), ("POLY", [0.5, 1.0, 3.0]), ("RBF", [0.7, 0.0, 0.0]), ("SIGMOID", [0.3, 0.1, 0.0])]:
        case(f"svr-{kernel}", "SVMRegressor", x, kernel_type=kernel, kernel_params=parameters, n_supports=6,
             support_vectors=floats(18).tolist(), coefficients=floats(6).tolist(), rho=[0.3])
        case(f"svc-{kernel}", "SVMClassifier", x, wanted=2, kernel_type=kernel, kernel_params=parameters, classlabels_ints=[1, 2, 3],
             vectors_per_class=[2, 3, 1], support_vectors=floats(18).tolist(), coefficients=floats(12).tolist(), rho=floats(3).tolist())
    case("svr-one-class", "SVMRegressor", x, kernel_type="RBF", kernel_params=[0.7, 0.0, 0.0], n_supports=6, one_class=1,
         support_vectors=floats(18).tolist(), coefficients=floats(6).tolist(), rho=[0.3])


def both_ways(session, feeds):
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds)))


def run_operators():
    graph = helper.make_graph(nodes, "operators", inputs, [helper.make_empty_tensor_value_info(n) for n in outputs])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(ML, 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    got = both_ways(session, {k[3:]: v for k, v in values.items()})
    for name, value in got.items():
        values[f"out:{name}"] = np.asarray(value)
    plain = {k: (v.astype(str) if v.dtype.kind == "O" else v) for k, v in values.items()}
    (GOLDEN / "operators.onnx").write_bytes(model.SerializeToString())
    np.savez_compressed(GOLDEN / "operators.npz", **plain)
    print(len(nodes), "cases")


def ensemble_of_version_5():
    """`TreeEnsemble` lists leaves apart, and has tests of membership."""
    x = samples()
    modes = np.array([0, 1, 2, 3, 4, 5, 6, 6], np.uint8)
    splits = np.array([0.5, 0.0, -0.5, 1.0, 0.5, -1.0, 0.0, 0.0], np.float32)
    # A chain per tree: nodes 0 to 3 and 4 to 7, each with leaves on one side.
    yes, no = [1, 0, 3, 2, 5, 6, 7, 9], [0, 2, 1, 3, 4, 5, 6, 7]
    yes_leaf, no_leaf = [0, 1, 0, 1, 0, 0, 0, 1], [1, 0, 1, 1, 1, 1, 1, 1]
    members = np.array([0.5, 1.0, np.nan, -2.0, -1.0, 0.0, np.nan], np.float32)
    # Without a transformation: onnxruntime takes 1 for LOGISTIC and 2 for SOFTMAX, the specification has them the other way.
    for how in [0, 1, 2, 3]:
        node = helper.make_node(
            "TreeEnsemble", ["x"], ["y"], domain=ML, n_targets=2, aggregate_function=how, tree_roots=[0, 4],
            nodes_modes=numpy_helper.from_array(modes), nodes_splits=numpy_helper.from_array(splits),
            nodes_featureids=[0, 1, 2, 3, 0, 1, 2, 3], nodes_truenodeids=yes, nodes_falsenodeids=no, nodes_trueleafs=yes_leaf,
            nodes_falseleafs=no_leaf, nodes_missing_value_tracks_true=[0, 1, 0, 1, 0, 1, 0, 1],
            membership_values=numpy_helper.from_array(members), leaf_targetids=[0, 1, 0, 1, 0, 1, 0, 1, 0, 1],
            leaf_weights=numpy_helper.from_array(floats(10)))
        graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
                                  [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(ML, 5)], ir_version=10)
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        name = f"ensemble-{how}"
        (GOLDEN / f"{name}.onnx").write_bytes(model.SerializeToString())
        np.savez_compressed(GOLDEN / f"{name}.npz", **{"in:x": x, "out:y": session.run(None, {"x": x})[0]})


def exports():
    """Small models as people export them."""
    import lightgbm
    import xgboost
    from onnxmltools import convert_lightgbm, convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType as Plain
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC, LinearSVC

    x = floats(300, 4)
    three = (x[:, 0] > 0).astype(int) + (x[:, 1] * x[:, 2] > 0.3)
    two = (three > 0).astype(int)
    known = [
        ("logistic", make_pipeline(StandardScaler(), LogisticRegression()), three),
        ("logistic-two", LogisticRegression(), two),
        ("forest", RandomForestClassifier(5, max_depth=4, random_state=0), three),
        ("forest-two", RandomForestClassifier(5, max_depth=4, random_state=0), two),
        ("boosting", GradientBoostingClassifier(n_estimators=5, max_depth=2, random_state=0), two),
        ("svc", SVC(probability=False), three),
        ("svc-two", SVC(probability=False), two),
        ("svc-probabilities", SVC(probability=True, random_state=0), three),
        ("svc-two-probabilities", SVC(probability=True, random_state=0), two),
        ("linear-svc", LinearSVC(random_state=0), three),
        ("mlp", MLPClassifier((6,), max_iter=40, random_state=0), three),
    ]
    made = {}
    for name, model, y in known:
        model.fit(x, y)
        made[name] = convert_sklearn(model, initial_types=[("x", FloatTensorType([None, 4]))], target_opset={"": 17, ML: 3})
    plain = [("x", Plain([None, 4]))]
    made["xgboost"] = convert_xgboost(xgboost.XGBClassifier(n_estimators=5, max_depth=3).fit(x, three), initial_types=plain, target_opset=15)
    made["xgboost-two"] = convert_xgboost(xgboost.XGBClassifier(n_estimators=5, max_depth=3).fit(x, two), initial_types=plain, target_opset=15)
    made["lightgbm"] = convert_lightgbm(lightgbm.LGBMClassifier(n_estimators=5, num_leaves=6, verbose=-1).fit(x, three), initial_types=plain, target_opset=15)
    made["lightgbm-two"] = convert_lightgbm(lightgbm.LGBMClassifier(n_estimators=5, num_leaves=6, verbose=-1).fit(x, two), initial_types=plain, target_opset=15)
    # Its second output holds distances, of which the smallest chooses.
    from sklearn.cluster import KMeans

    clusters = make_pipeline(StandardScaler(), KMeans(3, n_init=1, random_state=0)).fit(x)
    model = convert_sklearn(clusters, initial_types=[("x", FloatTensorType([None, 4]))], target_opset={"": 17, ML: 3})
    del model.metadata_props[:]
    (GOLDEN / "kmeans.onnx").write_bytes(model.SerializeToString())
    few = floats(30, 4)
    for name, model in made.items():
        del model.metadata_props[:]
        model.producer_name = model.producer_version = model.doc_string = ""
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        label, scores = session.run(None, {session.get_inputs()[0].name: few})
        if isinstance(scores, list):
            scores = np.array([list(row.values()) for row in scores], np.float32)
        (GOLDEN / f"{name}.onnx").write_bytes(model.SerializeToString())
        np.savez_compressed(GOLDEN / f"{name}.npz", **{"in:x": few, "label": label, "scores": scores})
        print(name, [f"{n.domain}.{n.op_type}" for n in model.graph.node][:8], scores.shape)


GOLDEN.mkdir(parents=True, exist_ok=True)
trees()
linear()
scales()
categories()
machines()
run_operators()
try:
    ensemble_of_version_5()
except Exception as e:  # an onnxruntime from before opset 5 of the domain
    print("TreeEnsemble:", e)
exports()
