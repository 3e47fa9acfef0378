//! A pattern as a tree, and the text of one that the engine of linear time takes.

/// Where a pattern holds without taking a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    TextBegin,
    TextEnd,
    /// The end, or before the line break that the text ends with.
    LastLineEnd,
    LineBegin,
    LineEnd,
    WordBoundary,
    NoWordBoundary,
    /// Where the search began.
    SearchBegin,
}

/// How a repetition takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greed {
    Most,
    Least,
}

#[derive(Debug, Clone)]
pub(super) enum PatternNode {
    /// One character, by an expression of the regex crate.
    One(String),
    Sequence(Vec<PatternNode>),
    Choice(Vec<PatternNode>),
    /// A group with its number and its name.
    Group(usize, Box<PatternNode>),
    Repeat {
        node: Box<PatternNode>,
        least: u32,
        most: Option<u32>,
        greed: Greed,
    },
    /// What it took it does not give back.
    Atomic(Box<PatternNode>),
    Look {
        node: Box<PatternNode>,
        behind: bool,
        negative: bool,
    },
    /// What a group took; without regard to case, and whether that is Unicode's.
    Reference(usize, Option<bool>),
    At(Anchor, bool),
}

impl PatternNode {
    fn any(&self, f: &dyn Fn(&PatternNode) -> bool) -> bool {
        f(self)
            || match self {
                PatternNode::Sequence(all) | PatternNode::Choice(all) => all.iter().any(|n| n.any(f)),
                PatternNode::Group(_, n)
                | PatternNode::Repeat { node: n, .. }
                | PatternNode::Atomic(n)
                | PatternNode::Look { node: n, .. } => n.any(f),
                PatternNode::One(_) | PatternNode::Reference(..) | PatternNode::At(..) => false,
            }
    }
    /// Whether only the engine that goes back can match it, whatever the text.
    pub(super) fn needs_steps_back(&self) -> bool {
        self.any(&|n| {
            matches!(
                n,
                PatternNode::Atomic(_)
                    | PatternNode::Look { .. }
                    | PatternNode::Reference(..)
                    | PatternNode::At(Anchor::SearchBegin, _)
            )
        })
    }
    /// Whether it has places that line breaks in the text matter to.
    pub(super) fn knows_lines(&self) -> bool {
        self.any(&|n| matches!(n, PatternNode::At(Anchor::LastLineEnd | Anchor::LineBegin | Anchor::LineEnd, _)))
    }

    /// The same for the regex crate, for texts of one line.
    pub(super) fn linear(&self, out: &mut String) {
        match self {
            PatternNode::One(text) => *out += text,
            PatternNode::Sequence(all) => all.iter().for_each(|n| n.linear(out)),
            PatternNode::Choice(all) => {
                *out += "(?:";
                for (i, n) in all.iter().enumerate() {
                    out.push_str(if i > 0 { "|" } else { "" });
                    n.linear(out);
                }
                out.push(')');
            }
            PatternNode::Group(_, n) => {
                out.push('(');
                n.linear(out);
                out.push(')');
            }
            PatternNode::Repeat { node, least, most, greed } => {
                *out += "(?:";
                node.linear(out);
                out.push(')');
                *out += &match (least, most) {
                    (0, None) => "*".to_string(),
                    (1, None) => "+".to_string(),
                    (n, None) => format!("{{{n},}}"),
                    (n, Some(m)) => format!("{{{n},{m}}}"),
                };
                out.push_str(if *greed == Greed::Least { "?" } else { "" });
            }
            PatternNode::At(place, _) => {
                *out += match place {
                    Anchor::TextBegin | Anchor::LineBegin => r"\A",
                    Anchor::TextEnd | Anchor::LastLineEnd | Anchor::LineEnd => r"\z",
                    Anchor::WordBoundary => r"\b",
                    Anchor::NoWordBoundary => r"\B",
                    Anchor::SearchBegin => "",
                }
            }
            PatternNode::Atomic(_) | PatternNode::Look { .. } | PatternNode::Reference(..) => {}
        }
    }
}
