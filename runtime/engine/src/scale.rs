//! Changes of parallelism: which nodes change together, how many subtasks can have work, and the resulting graph.

use std::collections::BTreeMap;
use weir_core::error::nearest;
use weir_core::graph::{JobGraph, Partitioning, Role};
use weir_core::key::KEY_GROUPS;
use weir_core::{Error, Result};

/// The most subtasks of a node.
pub const MOST: usize = 64;

/// Requested parallelisms by the node's name; none resets a node to the parallelism of the script.
pub type TargetParallelism = BTreeMap<String, Option<usize>>;

/// For each node, the first of the nodes that must have the same parallelism, since ordered rows are forwarded between them.
pub fn groups(graph: &JobGraph) -> Vec<usize> {
    let mut groups: Vec<usize> = (0..graph.nodes.len()).collect();
    for (i, node) in graph.nodes.iter().enumerate() {
        for e in node.inputs.iter().filter(|e| e.ordered && e.partitioning == Partitioning::Forward) {
            let (a, b) = (groups[i].min(groups[e.from]), groups[i].max(groups[e.from]));
            groups.iter_mut().filter(|g| **g == b).for_each(|g| *g = a);
        }
    }
    groups
}

/// For each node, the most subtasks that can have work: the partitions of a source, the key groups behind a hash exchange, or one if
/// nothing divides the rows. For nodes that must have the same parallelism, the least of these.
pub fn most(graph: &JobGraph) -> Vec<usize> {
    let own = graph.nodes.iter().map(|n| match &n.role {
        Role::Source(s) => s.partitions().unwrap_or(if n.parallelism == 1 && s.rate().is_none() { 1 } else { MOST }),
        _ if n.inputs.iter().any(|e| e.partitioning == Partitioning::Single) => 1,
        _ if n.inputs.iter().any(|e| matches!(e.partitioning, Partitioning::Hash(_))) => usize::from(KEY_GROUPS),
        _ => MOST,
    });
    let (own, groups): (Vec<usize>, _) = (own.collect(), groups(graph));
    let least = |g: usize| own.iter().zip(&groups).filter(|(_, of)| **of == g).map(|(n, _)| *n).min();
    groups.iter().map(|g| least(*g).unwrap_or(MOST).max(1)).collect()
}

/// Whether all sources can be reset to the last epoch.
pub fn replayable(graph: &JobGraph) -> bool {
    graph.nodes.iter().all(|n| !matches!(&n.role, Role::Source(s) if !s.replayable()))
}

/// All nodes that a change affects, with their new parallelisms.
///
/// # Errors
/// If there is no such node, or it cannot have so many subtasks.
pub fn check(graph: &JobGraph, wanted: &TargetParallelism) -> Result<TargetParallelism> {
    let (groups, most) = (groups(graph), most(graph));
    let mut all = TargetParallelism::new();
    for (name, n) in wanted {
        let names = || graph.nodes.iter().map(|n| n.name.as_str());
        let Some(at) = graph.nodes.iter().position(|n| n.name == *name) else {
            let e = Error::script(format!("the job has no operator '{name}'"));
            return Err(match nearest(name, names()) {
                Some(n) => e.hint(format!("did you mean '{n}'?")),
                None => e.hint(format!("it has: {}", names().collect::<Vec<_>>().join(", "))),
            });
        };
        if let Some(n) = n
            && !(1..=MOST).contains(n)
        {
            return Err(Error::script(format!("the parallelism of '{name}' is 1 to {MOST}, not {n}")));
        }
        if let Some(n) = n.filter(|n| most[at] == 1 && *n > 1) {
            let e = Error::script(format!("'{name}' cannot have {n} subtasks"));
            return Err(e.hint("nothing divides its rows: one subtask has them all"));
        }
        for (i, node) in graph.nodes.iter().enumerate().filter(|(i, _)| groups[*i] == groups[at]) {
            if let Some(before) = all.insert(node.name.clone(), *n)
                && before != *n
            {
                let e = Error::script(format!("'{name}' and '{}' have one parallelism", graph.nodes[i].name));
                return Err(e.hint("their rows go on in order, from subtask to subtask: give both the same number"));
            }
        }
    }
    Ok(all)
}

/// Turns stored parallelisms by uid into those of the graph by name. Uids that the graph does not have are ignored: the script has
/// changed. Parallelisms that it can no longer have are dropped with a warning.
pub(crate) fn kept(graph: &JobGraph, by_uid: &BTreeMap<String, usize>) -> BTreeMap<String, usize> {
    let (groups, most) = (groups(graph), most(graph));
    let mut sizes = BTreeMap::new();
    for (group, most) in most.iter().enumerate() {
        let of = || graph.nodes.iter().zip(&groups).filter(|(_, g)| **g == group).map(|(n, _)| n);
        let mut wanted: Vec<usize> = of().filter_map(|n| by_uid.get(&n.uid).copied()).collect();
        wanted.dedup();
        match wanted[..] {
            [] => {}
            [n] if (1..=MOST).contains(&n) && (n == 1 || *most > 1) => {
                sizes.extend(of().map(|node| (node.name.clone(), n)));
            }
            _ => {
                let names = of().map(|n| n.name.as_str()).collect::<Vec<_>>().join("', '");
                tracing::warn!(
                    "'{names}' cannot have the parallelism that was set while the job ran ({wanted:?}): the script's is taken"
                );
            }
        }
    }
    sizes
}

/// The graph with changed parallelisms, by name.
pub fn resized(graph: &JobGraph, wanted: &BTreeMap<String, usize>) -> JobGraph {
    let mut new = graph.clone();
    for n in &mut new.nodes {
        n.parallelism = wanted.get(&n.name).copied().unwrap_or(n.parallelism).clamp(1, MOST);
    }
    let parallelism: Vec<usize> = new.nodes.iter().map(|n| n.parallelism).collect();
    for n in &mut new.nodes {
        for e in n.inputs.iter_mut().filter(|e| e.partitioning == Partitioning::Forward) {
            if parallelism[e.from] != n.parallelism {
                e.partitioning = Partitioning::Rebalance;
            }
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::graph::{Edge, MAIN, Node, Operator, OperatorFactory, SubtaskContext};

    struct Nothing;

    impl OperatorFactory for Nothing {
        fn open(&self, _: SubtaskContext) -> Result<Box<dyn Operator>> {
            Err(Error::internal("this is never run"))
        }
    }

    /// A chain of operators, each with its uid and how rows come to it.
    fn graph(nodes: &[(&str, &str, Partitioning, bool)]) -> JobGraph {
        let node = |(i, (name, uid, partitioning, ordered)): (usize, &(&str, &str, Partitioning, bool))| Node {
            name: (*name).to_string(),
            uid: (*uid).to_string(),
            parallelism: 2,
            role: Role::Operator(std::sync::Arc::new(Nothing)),
            inputs: (i > 0)
                .then(|| Edge {
                    from: i - 1,
                    port: MAIN,
                    input: 0,
                    partitioning: partitioning.clone(),
                    ordered: *ordered,
                })
                .into_iter()
                .collect(),
            watermarks: None,
        };
        JobGraph { name: "job".to_string(), nodes: nodes.iter().enumerate().map(node).collect() }
    }

    fn sizes(all: &[(&str, usize)]) -> BTreeMap<String, usize> {
        all.iter().map(|(k, n)| ((*k).to_string(), *n)).collect()
    }

    #[test]
    fn a_kept_parallelism_follows_the_operator_and_not_its_name() {
        let hash = || Partitioning::Hash(vec![0]);
        let before =
            graph(&[("calc", "a/calc-1", Partitioning::Forward, false), ("aggregate", "a/agg-2", hash(), false)]);
        assert_eq!(kept(&before, &sizes(&[("a/agg-2", 3)])), sizes(&[("aggregate", 3)]));
        // Another statement's operator has the name now.
        let after = graph(&[
            ("calc", "b/calc-1", Partitioning::Forward, false),
            ("aggregate", "b/agg-2", hash(), false),
            ("aggregate-2", "a/agg-2", hash(), false),
        ]);
        assert_eq!(
            kept(&after, &sizes(&[("a/agg-2", 3), ("gone", 7), ("aggregate", 5)])),
            sizes(&[("aggregate-2", 3)])
        );
    }

    #[test]
    fn operators_in_order_have_one_parallelism_or_the_scripts() {
        let nodes = [
            ("aggregate", "agg", Partitioning::Hash(vec![0]), false),
            ("calc", "calc", Partitioning::Forward, true),
            ("sink t", "sink", Partitioning::Forward, true),
        ];
        let ordered = graph(&nodes);
        let all = sizes(&[("aggregate", 3), ("calc", 3), ("sink t", 3)]);
        assert_eq!(kept(&ordered, &sizes(&[("calc", 3)])), all);
        assert_eq!(kept(&ordered, &sizes(&[("calc", 3), ("agg", 3)])), all);
        assert_eq!(kept(&ordered, &sizes(&[("calc", 3), ("agg", 2)])), sizes(&[]));
        assert_eq!(kept(&ordered, &sizes(&[("calc", 0)])), sizes(&[]));
        assert_eq!(kept(&ordered, &sizes(&[("calc", MOST + 1)])), sizes(&[]));
        // Where nothing divides the rows, there is one.
        let mut single = graph(&nodes);
        single.nodes[1].inputs[0].partitioning = Partitioning::Single;
        single.nodes[2].inputs[0].partitioning = Partitioning::Forward;
        assert_eq!(kept(&single, &sizes(&[("sink", 2)])), sizes(&[]));
    }
}
