//! Other parallelisms for a graph: which nodes go together, how many subtasks make sense, and the graph that comes of it.

use std::collections::BTreeMap;
use weir_core::error::nearest;
use weir_core::graph::{JobGraph, Partitioning, Role};
use weir_core::key::KEY_GROUPS;
use weir_core::{Error, Result};

/// Subtasks of a node at most.
pub const MOST: usize = 64;

/// What is wanted: a parallelism by the node's name; none takes the script's again.
pub type Wanted = BTreeMap<String, Option<usize>>;

/// For each node the first of those that have its parallelism by necessity: rows in order go from subtask to subtask.
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

/// For each node how many subtasks can have work: the partitions of a source, the key groups behind an exchange by key, one where
/// nothing divides the rows; of a group, the least of these.
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

/// Whether all sources can go back to the last epoch.
pub(crate) fn rewinds(graph: &JobGraph) -> bool {
    graph.nodes.iter().all(|n| !matches!(&n.role, Role::Source(s) if !s.rewinds()))
}

/// What a change would come to: all nodes that it reaches, with their new parallelisms.
///
/// # Errors
/// When a node is not there, or cannot have so many subtasks.
pub fn check(graph: &JobGraph, wanted: &Wanted) -> Result<Wanted> {
    let (groups, most) = (groups(graph), most(graph));
    let mut all = Wanted::new();
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

/// The graph with other parallelisms. Names that it does not have are left out: the script has changed since.
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
