//! Aggregate functions: their names and result types. The operators implement their accumulators.

use weir_core::types::UNBOUNDED;
use weir_core::{Error, Result, SqlType, TypeKind};

/// An aggregate function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named after SQL's functions")]
pub enum Aggregate {
    CountStar,
    Count,
    Sum,
    Avg,
    Min,
    Max,
    StddevPop,
    StddevSamp,
    VarPop,
    VarSamp,
    FirstValue,
    LastValue,
    Collect,
    ListAgg {
        separator: String,
    },
    /// PERCENTILE. `fractions` has the bits of DOUBLE values. `several` says whether they were given as an array; the result is an array
    /// then.
    Percentile {
        fractions: Vec<u64>,
        several: bool,
    },
    ArrayAgg,
    JsonObjectAgg {
        absent_on_null: bool,
    },
    JsonArrayAgg {
        absent_on_null: bool,
    },
    /// LAG in OVER: the value of the row that is `offset` rows before the current one. If there is no such row, the result is the second
    /// argument, or NULL without one.
    Lag {
        offset: u64,
    },
    /// RANK or DENSE_RANK in OVER. The argument is the expression of ORDER BY.
    Rank {
        dense: bool,
    },
}

/// The name of a function in capitals, and a constructor.
type Named = (&'static str, fn() -> Aggregate);

/// The functions that are called by name.
const BY_NAME: &[Named] = &[
    ("COUNT", || Aggregate::Count),
    ("SUM", || Aggregate::Sum),
    ("AVG", || Aggregate::Avg),
    ("MIN", || Aggregate::Min),
    ("MAX", || Aggregate::Max),
    ("STDDEV_POP", || Aggregate::StddevPop),
    ("STDDEV_SAMP", || Aggregate::StddevSamp),
    ("STDDEV", || Aggregate::StddevSamp),
    ("VAR_POP", || Aggregate::VarPop),
    ("VAR_SAMP", || Aggregate::VarSamp),
    ("VARIANCE", || Aggregate::VarSamp),
    ("FIRST_VALUE", || Aggregate::FirstValue),
    ("LAST_VALUE", || Aggregate::LastValue),
    ("COLLECT", || Aggregate::Collect),
    ("LISTAGG", || Aggregate::ListAgg { separator: ",".to_string() }),
    ("PERCENTILE", || Aggregate::Percentile { fractions: vec![], several: false }),
    ("ARRAY_AGG", || Aggregate::ArrayAgg),
    ("JSON_OBJECTAGG", || Aggregate::JsonObjectAgg { absent_on_null: false }),
    ("JSON_ARRAYAGG", || Aggregate::JsonArrayAgg { absent_on_null: true }),
];

impl Aggregate {
    /// The names of the functions that are called by name.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BY_NAME.iter().map(|(name, _)| *name)
    }

    /// The function with this name, which is in capitals. Options that are not arguments have default values, such as the separator of
    /// LISTAGG.
    pub fn by_name(name: &str) -> Option<Aggregate> {
        BY_NAME.iter().find(|(n, _)| *n == name).map(|(_, make)| make())
    }

    /// The name of the function.
    pub fn name(&self) -> &'static str {
        match self {
            Aggregate::CountStar | Aggregate::Count => "COUNT",
            Aggregate::Sum => "SUM",
            Aggregate::Avg => "AVG",
            Aggregate::Min => "MIN",
            Aggregate::Max => "MAX",
            Aggregate::StddevPop => "STDDEV_POP",
            Aggregate::StddevSamp => "STDDEV_SAMP",
            Aggregate::VarPop => "VAR_POP",
            Aggregate::VarSamp => "VAR_SAMP",
            Aggregate::FirstValue => "FIRST_VALUE",
            Aggregate::LastValue => "LAST_VALUE",
            Aggregate::Collect => "COLLECT",
            Aggregate::ListAgg { .. } => "LISTAGG",
            Aggregate::Percentile { .. } => "PERCENTILE",
            Aggregate::ArrayAgg => "ARRAY_AGG",
            Aggregate::JsonObjectAgg { .. } => "JSON_OBJECTAGG",
            Aggregate::JsonArrayAgg { .. } => "JSON_ARRAYAGG",
            Aggregate::Lag { .. } => "LAG",
            Aggregate::Rank { dense: false } => "RANK",
            Aggregate::Rank { dense: true } => "DENSE_RANK",
        }
    }

    /// The type of the result.
    ///
    /// # Errors
    /// If the function does not accept these arguments.
    pub fn result_type(&self, args: &[SqlType]) -> Result<SqlType> {
        let wrong = || {
            let types = args.iter().map(|t| t.kind.to_string()).collect::<Vec<_>>().join(", ");
            Error::script(format!("{}({types}) cannot be called like this", self.name()))
        };
        let wanted = match self {
            Aggregate::CountStar => 0,
            Aggregate::JsonObjectAgg { .. } => 2,
            Aggregate::Percentile { .. } | Aggregate::Lag { .. } => args.len().clamp(1, 2),
            _ => 1,
        };
        if args.len() != wanted {
            return Err(wrong().hint(format!("it takes {wanted} argument{}", if wanted == 1 { "" } else { "s" })));
        }
        let number = |t: &SqlType| {
            if t.is_numeric() { Ok(t.kind.clone()) } else { Err(wrong()) }
        };
        Ok(match self {
            Aggregate::CountStar | Aggregate::Count | Aggregate::Rank { .. } => SqlType::BIGINT.not_null(),
            Aggregate::Sum => match number(&args[0])? {
                TypeKind::Decimal(_, s) => TypeKind::Decimal(38, s).into(),
                kind => kind.into(),
            },
            Aggregate::Avg | Aggregate::StddevPop | Aggregate::StddevSamp | Aggregate::VarPop | Aggregate::VarSamp => {
                match number(&args[0])? {
                    TypeKind::Decimal(_, s) => TypeKind::Decimal(38, s.max(6)).into(),
                    kind => kind.into(),
                }
            }
            Aggregate::Min | Aggregate::Max if args[0].is_nested() => return Err(wrong()),
            Aggregate::Min | Aggregate::Max | Aggregate::FirstValue | Aggregate::LastValue | Aggregate::Lag { .. } => {
                args[0].clone().nullable(true)
            }
            Aggregate::Collect => SqlType::from(TypeKind::Multiset(Box::new(args[0].clone()))).not_null(),
            Aggregate::ListAgg { .. } if args[0].is_text() => SqlType::STRING,
            Aggregate::ListAgg { .. } => return Err(wrong()),
            Aggregate::Percentile { .. } if !args.iter().all(SqlType::is_numeric) => return Err(wrong()),
            Aggregate::Percentile { .. } if args.get(1).is_some_and(|times| !times.is_integer()) => return Err(wrong()),
            Aggregate::Percentile { several: false, .. } => SqlType::DOUBLE,
            Aggregate::Percentile { .. } => SqlType::from(TypeKind::Array(Box::new(SqlType::DOUBLE))),
            Aggregate::ArrayAgg => SqlType::from(TypeKind::Array(Box::new(args[0].clone()))),
            Aggregate::JsonObjectAgg { .. } if !args[0].is_text() => return Err(wrong()),
            Aggregate::JsonObjectAgg { .. } | Aggregate::JsonArrayAgg { .. } => {
                SqlType::from(TypeKind::Varchar(UNBOUNDED)).not_null()
            }
        })
    }
}

/// An aggregate call in a plan. Its arguments and its filter are columns of the input.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AggregateCall {
    /// Which function.
    pub function: Aggregate,
    /// The columns of its arguments.
    pub args: Vec<usize>,
    /// DISTINCT: whether equal arguments count once.
    pub distinct: bool,
    /// FILTER: the column of the condition under which a row counts.
    pub filter: Option<usize>,
    /// The result's type.
    pub ty: SqlType,
}

impl AggregateCall {
    /// `COUNT(*)`.
    pub fn count_star() -> AggregateCall {
        let ty = SqlType::BIGINT.not_null();
        AggregateCall { function: Aggregate::CountStar, args: vec![], distinct: false, filter: None, ty }
    }

    /// The columns that the call reads: those of its arguments, then that of its filter.
    pub fn columns(&self) -> impl Iterator<Item = usize> {
        self.args.iter().chain(&self.filter).copied()
    }

    /// The same call over other columns. `to` maps each column to its new index.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn moved(mut self, to: impl Fn(usize) -> Result<usize>) -> Result<AggregateCall> {
        self.args = self.args.iter().map(|c| to(*c)).collect::<Result<_>>()?;
        self.filter = self.filter.map(to).transpose()?;
        Ok(self)
    }

    /// Whether the order of rows does not affect the result, except for rounding.
    pub fn is_unordered(&self) -> bool {
        match self.function {
            Aggregate::CountStar
            | Aggregate::Count
            | Aggregate::Sum
            | Aggregate::Avg
            | Aggregate::Min
            | Aggregate::Max
            | Aggregate::StddevPop
            | Aggregate::StddevSamp
            | Aggregate::VarPop
            | Aggregate::VarSamp
            | Aggregate::Percentile { .. } => true,
            Aggregate::FirstValue
            | Aggregate::LastValue
            | Aggregate::Collect
            | Aggregate::ListAgg { .. }
            | Aggregate::ArrayAgg
            | Aggregate::JsonObjectAgg { .. }
            | Aggregate::JsonArrayAgg { .. }
            | Aggregate::Lag { .. }
            | Aggregate::Rank { .. } => false,
        }
    }

    /// Whether partial results of several subtasks can be merged in any order.
    pub fn merges(&self) -> bool {
        !self.distinct && self.is_unordered() && !matches!(self.function, Aggregate::Percentile { .. })
    }
}
