//! Reads trees from the attributes of both generations of tree operators.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Branch, Forest, Next, Question};
use crate::node::{NodeSpec, OpResult};

/// Columns of the older operators: one entry per node.
struct Nodes {
    tree: Vec<i64>,
    id: Vec<i64>,
    feature: Vec<usize>,
    mode: Vec<String>,
    value: Vec<f64>,
    yes: Vec<i64>,
    no: Vec<i64>,
    missing: Vec<i64>,
}

fn as_long(what: &str, given: usize, expected: usize) -> OpResult<()> {
    if given == expected {
        return Ok(());
    }
    Err(format!("`{what}` has {given} entries for {expected} nodes"))
}

/// Reads a list of numbers from an attribute, or from its double-precision twin `NAME_as_tensor`.
pub(super) fn reals(node: &NodeSpec<'_>, name: &str) -> OpResult<Vec<f64>> {
    let plain = node.floats(name)?.filter(|v| !v.is_empty());
    match (plain, node.tensor(&format!("{name}_as_tensor"))?) {
        (Some(v), None) => Ok(v),
        (None, Some(a)) => a.to_f64(),
        (None, None) => Ok(Vec::new()),
        (Some(_), Some(_)) => Err(format!("`{name}` is given twice")),
    }
}

impl Nodes {
    fn read(node: &NodeSpec<'_>) -> OpResult<Self> {
        let ints = |name: &str| -> OpResult<Vec<i64>> { Ok(node.ints(name)?.unwrap_or_default()) };
        let nodes = Self {
            tree: ints("nodes_treeids")?,
            id: ints("nodes_nodeids")?,
            feature: node.sizes("nodes_featureids")?.unwrap_or_default(),
            mode: node.texts("nodes_modes")?.unwrap_or_default(),
            value: reals(node, "nodes_values")?,
            yes: ints("nodes_truenodeids")?,
            no: ints("nodes_falsenodeids")?,
            missing: ints("nodes_missing_value_tracks_true")?,
        };
        let n = nodes.id.len();
        if n == 0 {
            return Err("it has no nodes".into());
        }
        as_long("nodes_treeids", nodes.tree.len(), n)?;
        as_long("nodes_featureids", nodes.feature.len(), n)?;
        as_long("nodes_modes", nodes.mode.len(), n)?;
        as_long("nodes_values", nodes.value.len(), n)?;
        as_long("nodes_truenodeids", nodes.yes.len(), n)?;
        as_long("nodes_falsenodeids", nodes.no.len(), n)?;
        if !nodes.missing.is_empty() {
            as_long("nodes_missing_value_tracks_true", nodes.missing.len(), n)?;
        }
        Ok(nodes)
    }
}

/// Reads the trees of `TreeEnsembleClassifier` (`prefix` "class") or `TreeEnsembleRegressor` ("target").
pub(super) fn by_ids(node: &NodeSpec<'_>, prefix: &str) -> OpResult<Forest> {
    let nodes = Nodes::read(node)?;
    let n = nodes.id.len();
    let mut forest = Forest::default();
    let mut places: BTreeMap<(i64, i64), Next> = BTreeMap::new();
    let mut asking = Vec::new();
    for i in 0..n {
        let place = if nodes.mode[i] == "LEAF" {
            forest.leaves.push(Vec::new());
            Next::Leaf(forest.leaves.len() - 1)
        } else {
            asking.push(i);
            Next::Branch(asking.len() - 1)
        };
        let key = (nodes.tree[i], nodes.id[i]);
        if places.insert(key, place).is_some() {
            return Err(format!("node {} of tree {} is listed twice", key.1, key.0));
        }
    }
    let find = |tree: i64, id: i64| {
        let place = places.get(&(tree, id)).copied();
        place.ok_or_else(|| format!("tree {tree} has no node {id}"))
    };
    let mut children: BTreeSet<(i64, i64)> = BTreeSet::new();
    for i in asking {
        let tree = nodes.tree[i];
        let value = nodes.value[i] as f32;
        let question = match nodes.mode[i].as_str() {
            "BRANCH_LEQ" => Question::AtMost(value),
            "BRANCH_LT" => Question::Below(value),
            "BRANCH_GTE" => Question::AtLeast(value),
            "BRANCH_GT" => Question::Above(value),
            "BRANCH_EQ" => Question::Equal(value),
            "BRANCH_NEQ" => Question::Differs(value),
            other => return Err(format!("mode `{other}` of a node is not one of ONNX's")),
        };
        children.extend([(tree, nodes.yes[i]), (tree, nodes.no[i])]);
        forest.branches.push(Branch {
            feature: nodes.feature[i],
            question,
            missing_is_yes: nodes.missing.get(i).is_some_and(|m| *m != 0),
            yes: find(tree, nodes.yes[i])?,
            no: find(tree, nodes.no[i])?,
        });
    }
    // Trees in the order of their first node; a root is nobody's child.
    let mut rooted: BTreeSet<i64> = BTreeSet::new();
    for i in 0..n {
        let key = (nodes.tree[i], nodes.id[i]);
        if !children.contains(&key) {
            if !rooted.insert(key.0) {
                return Err(format!("tree {} has two roots", key.0));
            }
            forest.roots.push(find(key.0, key.1)?);
        }
    }
    if let Some(tree) = nodes.tree.iter().find(|t| !rooted.contains(t)) {
        return Err(format!("tree {tree} has no root"));
    }
    let ints = |what: &str| -> OpResult<Vec<i64>> {
        Ok(node.ints(&format!("{prefix}_{what}"))?.unwrap_or_default())
    };
    let (trees, ids, targets) = (ints("treeids")?, ints("nodeids")?, ints("ids")?);
    let weights = reals(node, &format!("{prefix}_weights"))?;
    if trees.len() != weights.len() || ids.len() != weights.len() || targets.len() != weights.len()
    {
        return Err(format!(
            "the lists of leaves (`{prefix}_…`) have {}, {}, {} and {} entries; expected as many each",
            trees.len(),
            ids.len(),
            targets.len(),
            weights.len()
        ));
    }
    for (at, weight) in weights.into_iter().enumerate() {
        let Next::Leaf(leaf) = find(trees[at], ids[at])? else {
            return Err(format!(
                "node {} of tree {} has a weight and is no leaf",
                ids[at], trees[at]
            ));
        };
        let target = usize::try_from(targets[at])
            .map_err(|_| format!("`{prefix}_ids` has {}", targets[at]))?;
        forest.leaves[leaf].push((target, weight as f32));
    }
    forest.check()?;
    Ok(forest)
}

/// Reads the trees of `TreeEnsemble`, which lists leaves apart from the other nodes.
pub(super) fn by_places(node: &NodeSpec<'_>) -> OpResult<Forest> {
    let sizes = |name: &str| -> OpResult<Vec<usize>> { Ok(node.sizes(name)?.unwrap_or_default()) };
    let tensor = |name: &str| -> OpResult<Vec<f64>> {
        node.tensor(name)?.map_or(Ok(Vec::new()), |a| a.to_f64())
    };
    let (feature, yes, no) = (
        sizes("nodes_featureids")?,
        sizes("nodes_truenodeids")?,
        sizes("nodes_falsenodeids")?,
    );
    let (yes_leaf, no_leaf) = (sizes("nodes_trueleafs")?, sizes("nodes_falseleafs")?);
    let (splits, modes) = (tensor("nodes_splits")?, tensor("nodes_modes")?);
    let missing = sizes("nodes_missing_value_tracks_true")?;
    let n = feature.len();
    for (what, given) in [
        ("nodes_truenodeids", yes.len()),
        ("nodes_falsenodeids", no.len()),
        ("nodes_trueleafs", yes_leaf.len()),
        ("nodes_falseleafs", no_leaf.len()),
        ("nodes_splits", splits.len()),
        ("nodes_modes", modes.len()),
    ] {
        as_long(what, given, n)?;
    }
    if !missing.is_empty() {
        as_long("nodes_missing_value_tracks_true", missing.len(), n)?;
    }
    // The sets of all membership tests one after the other, each ended by a NaN.
    let members = tensor("membership_values")?;
    let mut sets = members.split(|v| v.is_nan());
    let mut forest = Forest::default();
    let next = |is_leaf: usize, at: usize| {
        if is_leaf == 0 {
            Next::Branch(at)
        } else {
            Next::Leaf(at)
        }
    };
    for i in 0..n {
        let value = splits[i] as f32;
        let question = match modes[i] as i64 {
            0 => Question::AtMost(value),
            1 => Question::Below(value),
            2 => Question::AtLeast(value),
            3 => Question::Above(value),
            4 => Question::Equal(value),
            5 => Question::Differs(value),
            6 => {
                let set = sets.next().filter(|s| !s.is_empty());
                let set =
                    set.ok_or("fewer sets in `membership_values` than nodes that read one")?;
                Question::Among(set.iter().map(|v| *v as f32).collect())
            }
            other => return Err(format!("mode {other} of a node; expected 0 to 6")),
        };
        forest.branches.push(Branch {
            feature: feature[i],
            question,
            missing_is_yes: missing.get(i).is_some_and(|m| *m != 0),
            yes: next(yes_leaf[i], yes[i]),
            no: next(no_leaf[i], no[i]),
        });
    }
    let (targets, weights) = (sizes("leaf_targetids")?, tensor("leaf_weights")?);
    if targets.len() != weights.len() {
        return Err(format!(
            "{} `leaf_targetids` for {} `leaf_weights`",
            targets.len(),
            weights.len()
        ));
    }
    let leaf = |(t, w): (usize, f64)| vec![(t, w as f32)];
    forest.leaves = targets.into_iter().zip(weights).map(leaf).collect();
    forest.roots = sizes("tree_roots")?.into_iter().map(Next::Branch).collect();
    if forest.roots.is_empty() {
        return Err("it has no trees".into());
    }
    forest.check()?;
    Ok(forest)
}
