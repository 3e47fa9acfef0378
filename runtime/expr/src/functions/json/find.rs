//! Evaluates JSON paths with the rules of the Jayway library: which parts of a path may be missing depends on whether all steps before lead
//! to a single node.

use super::call::call;
use super::tree::{Argument, Path, PathFilter, PathStep};
use serde_json::Value as Json;

/// The path does not lead anywhere.
#[derive(Debug)]
pub(super) struct Nowhere;

/// Evaluates a path from a node. The result is the node that it leads to, or an array for a path that may lead to several nodes. If it does
/// not lead anywhere, lax paths give null or an empty array, and strict ones fail.
pub(super) fn find(path: &Path, node: &Json, root: &Json, lax: bool) -> Result<Json, Nowhere> {
    let mut search = PathSearch { path, root, lax, found: vec![] };
    let outcome = search.from(0, node);
    let found = search.found;
    let definite = path.definite();
    match outcome {
        Err(Nowhere) if !lax => Err(Nowhere),
        Err(Nowhere) => Ok(if definite { Json::Null } else { Json::Array(vec![]) }),
        Ok(()) if !definite => Ok(Json::Array(found)),
        Ok(()) => match found.into_iter().next_back() {
            Some(j) => Ok(j),
            None if lax => Ok(Json::Null),
            None => Err(Nowhere),
        },
    }
}

struct PathSearch<'a> {
    path: &'a Path,
    root: &'a Json,
    lax: bool,
    found: Vec<Json>,
}

impl PathSearch<'_> {
    /// Whether all steps before this one lead to a single node.
    fn single_before(&self, step: usize) -> bool {
        (0..step).all(|s| self.path.single(s))
    }
    fn last(&self, step: usize) -> bool {
        step + 1 == self.path.steps.len()
    }

    /// Evaluates a step on a node.
    #[expect(clippy::too_many_lines, reason = "one flat match, an arm a step of the path")]
    fn from(&mut self, step: usize, node: &Json) -> Result<(), Nowhere> {
        let Some(next) = self.path.steps.get(step) else {
            self.found.push(node.clone());
            return Ok(());
        };
        // After a step with several results, or in lax mode, a missing node is not an error.
        let missing = |s: &Self| if s.lax || !s.single_before(step) { Ok(()) } else { Err(Nowhere) };
        match next {
            PathStep::Names(names) => {
                let Json::Object(fields) = node else {
                    return missing(self);
                };
                if names.len() > 1 && self.last(step) {
                    let some = names.iter().filter_map(|n| Some((n.clone(), fields.get(n)?.clone())));
                    self.found.push(Json::Object(some.collect()));
                    return Ok(());
                }
                for name in names {
                    match fields.get(name) {
                        Some(j) => self.from(step + 1, j)?,
                        None if self.last(step) || names.len() > 1 => {}
                        None => missing(self)?,
                    }
                }
                Ok(())
            }
            PathStep::All => match node {
                Json::Object(fields) => fields.values().try_for_each(|j| self.from(step + 1, j)),
                Json::Array(items) => {
                    for j in items {
                        // Items from which the path does not lead anywhere are left out.
                        let _ = self.from(step + 1, j);
                    }
                    Ok(())
                }
                _ if self.last(step) => Ok(()),
                _ => Err(Nowhere),
            },
            PathStep::Indices(_) | PathStep::Slice(..) => {
                let Json::Array(items) = node else {
                    return missing(self);
                };
                let length = items.len() as i64;
                let place = |i: i64| if i < 0 { length + i } else { i };
                match next {
                    PathStep::Indices(indices) => {
                        for i in indices {
                            if let Some(j) = usize::try_from(place(*i)).ok().and_then(|i| items.get(i)) {
                                self.from(step + 1, j)?;
                            }
                        }
                    }
                    PathStep::Slice(from, to) => {
                        let from = place(from.unwrap_or(0)).clamp(0, length) as usize;
                        let to = to.map_or(length, place).clamp(0, length) as usize;
                        for j in items.get(from..to).unwrap_or_default() {
                            self.from(step + 1, j)?;
                        }
                    }
                    _ => {}
                }
                Ok(())
            }
            PathStep::Filter(filter) => match node {
                Json::Object(_) => {
                    if self.passes(filter, node) {
                        self.from(step + 1, node)?;
                    }
                    Ok(())
                }
                Json::Array(items) => {
                    for j in items {
                        if self.passes(filter, j) {
                            self.from(step + 1, j)?;
                        }
                    }
                    Ok(())
                }
                _ if self.single_before(step) => Err(Nowhere),
                _ => Ok(()),
            },
            PathStep::Scan => self.scan(step + 1, node),
            PathStep::Call(name, arguments) => {
                let result = self.call(name, arguments, node)?;
                self.from(step + 1, &result)
            }
        }
    }

    /// Whether a node passes a filter. The paths of the filter begin at the node or at the document.
    fn passes(&self, filter: &PathFilter, node: &Json) -> bool {
        filter.holds(&|path| find(path, if path.root { self.root } else { node }, self.root, false).ok())
    }

    /// Evaluates a step on a node and on all nodes below it.
    fn scan(&mut self, step: usize, node: &Json) -> Result<(), Nowhere> {
        let fits = match (&self.path.steps.get(step), node) {
            (Some(PathStep::Names(names)), Json::Object(fields)) => {
                names.len() > 1 || names.iter().all(|n| fields.contains_key(n))
            }
            (Some(PathStep::Indices(_) | PathStep::Slice(..)), Json::Array(_)) => true,
            (Some(PathStep::All), Json::Object(_) | Json::Array(_)) => true,
            (Some(PathStep::Filter(f)), Json::Object(_) | Json::Array(_)) => self.passes(f, node),
            _ => false,
        };
        if fits {
            match node {
                // Unless this is the last step, all items are tried, whatever the step is.
                Json::Array(items) if !self.last(step) => items.iter().try_for_each(|j| self.from(step + 1, j))?,
                _ => self.from(step, node)?,
            }
        }
        match node {
            Json::Object(fields) => fields.values().try_for_each(|j| self.scan(step, j)),
            Json::Array(items) => items.iter().try_for_each(|j| self.scan(step, j)),
            _ => Ok(()),
        }
    }

    fn call(&self, name: &str, arguments: &[Argument], node: &Json) -> Result<Json, Nowhere> {
        let mut given = vec![];
        for a in arguments {
            given.push(match a {
                Argument::Json(j) => j.clone(),
                Argument::Path(p) => find(p, self.root, self.root, self.lax)?,
            });
        }
        call(name, &given, node).ok_or(Nowhere)
    }
}
