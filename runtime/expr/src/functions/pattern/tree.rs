//! The tree of a pattern, and its translation to the syntax of the regex crate.

/// A condition on a position that matches no character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    TextBegin,
    TextEnd,
    /// The end of the text, or the position before a line break at its end.
    LastLineEnd,
    LineBegin,
    LineEnd,
    WordBoundary,
    NoWordBoundary,
    /// The position at which the search began.
    SearchBegin,
}

/// Whether a repetition matches as often or as rarely as possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greed {
    Most,
    Least,
}

/// A node of the tree.
#[derive(Debug, Clone)]
pub(super) enum PatternNode {
    /// One character, as an expression of the regex crate.
    One(String),
    Sequence(Vec<PatternNode>),
    Choice(Vec<PatternNode>),
    /// A capturing group with its number.
    Group(usize, Box<PatternNode>),
    Repeat {
        node: Box<PatternNode>,
        least: u32,
        most: Option<u32>,
        greed: Greed,
    },
    /// An atomic group. It does not give back what it has matched.
    Atomic(Box<PatternNode>),
    /// A look-ahead, or a look-behind if `behind`.
    Look {
        node: Box<PatternNode>,
        behind: bool,
        negative: bool,
    },
    /// A back reference to a group. If case is ignored, the second field says whether that applies to all letters of Unicode.
    Reference(usize, Option<bool>),
    /// An anchor, and whether only `\n` is a line break.
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
    /// Whether only the backtracking engine can match it, whatever the text is.
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
    /// Whether it has anchors that depend on the line breaks in the text.
    pub(super) fn knows_lines(&self) -> bool {
        self.any(&|n| matches!(n, PatternNode::At(Anchor::LastLineEnd | Anchor::LineBegin | Anchor::LineEnd, _)))
    }

    /// Appends the pattern in the syntax of the regex crate, for texts of one line.
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
